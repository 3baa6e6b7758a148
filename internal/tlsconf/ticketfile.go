package tlsconf

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// ticketKey is one key of the ticket key file.
type ticketKey struct {
	made   int64 // Unix time, seconds
	secret [32]byte
}

// The ticket key file: a first line with its form, a line "TIME KEY" per key, newest first, TIME in
// decimal seconds and KEY in hex, and a last line "sum HEX", the SHA-256 of all before it.
const ticketMagic = "mailproxy TLS ticket keys 1\n"

func formatTicketKeys(keys []ticketKey) []byte {
	var b bytes.Buffer
	b.WriteString(ticketMagic)
	for _, k := range keys {
		fmt.Fprintf(&b, "%d %x\n", k.made, k.secret)
	}
	fmt.Fprintf(&b, "sum %x\n", sha256.Sum256(b.Bytes()))
	return b.Bytes()
}

// parseTicketKeys returns at least one key, or errTicketForm. What it accepts is exactly what
// formatTicketKeys writes.
func parseTicketKeys(data []byte) ([]ticketKey, error) {
	if len(data) > maxTicketFile || !bytes.HasPrefix(data, []byte(ticketMagic)) {
		return nil, errTicketForm
	}
	var keys []ticketKey
	for line := range strings.Lines(string(data[len(ticketMagic):])) {
		when, what, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || len(what) != 64 {
			return nil, errTicketForm
		}
		if when == "sum" {
			break
		}
		k := ticketKey{}
		var err error
		if k.made, err = strconv.ParseInt(when, 10, 64); err != nil {
			return nil, errTicketForm
		}
		if _, err := hex.Decode(k.secret[:], []byte(what)); err != nil {
			return nil, errTicketForm
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 || subtle.ConstantTimeCompare(formatTicketKeys(keys), data) == 0 {
		return nil, errTicketForm
	}
	return keys, nil
}
