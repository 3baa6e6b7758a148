package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"mailproxy/relay/tlsrecord"
)

// takeTLS carries on the TLS connections that a TAKE message describes: keys and counters in hexadecimal, and in its
// body the bytes that the front end had taken from the sockets, decrypted ones, which are returned, and the beginning of a record.
func (s *session) takeTLS(fields map[string]string, body []byte) (plain [2][]byte, err error) {
	for leg, name := range []string{client: "CLIENT", mailhost: "MAILHOST"} {
		state, ok := fields[name+"_TLS"]
		if !ok {
			continue
		}
		raw, err := hex.DecodeString(state)
		if err != nil {
			return plain, errors.New("TLS state is not hexadecimal")
		}
		codec, err := tlsrecord.Unmarshal(raw, leg == mailhost)
		if err != nil {
			return plain, err
		}
		d := tlsrecord.Detached{Codec: codec, Ended: fields[name+"_ENDED"] == "1"}
		if d.Plain, body, err = cut(body, fields[name+"_PLAIN"]); err != nil {
			return plain, err
		}
		if d.Raw, body, err = cut(body, fields[name+"_RAW"]); err != nil {
			return plain, err
		}
		plain[leg] = s.end[leg].Take(&d)
	}
	return plain, nil
}

// prime gives the flow that reads a leg bytes that were taken from it before.
func (s *session) prime(leg int, plain []byte) error {
	return s.flow[leg].Prime(&s.end[1-leg], plain)
}

// cut takes the first n bytes of body, where n is a decimal number.
func cut(body []byte, n string) (part, rest []byte, err error) {
	i, err := strconv.Atoi(n)
	if err != nil || i < 0 || i > len(body) {
		return nil, nil, fmt.Errorf("%q bytes of %d", n, len(body))
	}
	if i == 0 {
		return nil, body, nil
	}
	return append([]byte(nil), body[:i]...), body[i:], nil
}
