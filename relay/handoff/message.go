// Package handoff is the protocol in which a session is given to relayd by a front end (Session, Client),
// and to a program by the one that it replaces (package engine). One packet of a unix SOCK_SEQPACKET socket
// is one message, file descriptors travel with it (SCM_RIGHTS). A message is text, so that strace shows
// what goes on: a verb, NAME=value lines, an empty line, and a body of any bytes.
//
// It deliberately has nothing about logins except how long they took and what failed: a message never
// contains a password or a private key. It does contain the traffic keys of a session.
package handoff

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"
)

const (
	// MaxPacket is the longest message in bytes. The system's default socket buffer takes one.
	MaxPacket = 128 << 10
	// MaxFiles is the largest number of file descriptors with one message.
	MaxFiles = 16
)

// ErrSyntax reports a packet that is not a message.
var ErrSyntax = errors.New("not a relayd message")

// Message is one packet.
type Message struct {
	Verb   string            // upper-case letters
	Fields map[string]string // names are upper-case letters, digits and _; values have no line end
	Body   []byte
	// FilesLost says of a message that was received that file descriptors were lost on the way: there were no
	// free ones.
	FilesLost bool
}

// Encode returns the packet. Names and values with a line end or NUL are an error: they would be something
// else when read.
func (m *Message) Encode() ([]byte, error) {
	if !isName(m.Verb) {
		return nil, fmt.Errorf("%w: verb %q", ErrSyntax, m.Verb)
	}
	var b bytes.Buffer
	b.WriteString(m.Verb + "\n")
	names := make([]string, 0, len(m.Fields))
	for name := range m.Fields {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := m.Fields[name]
		if !isName(name) || strings.ContainsAny(value, "\n\x00") {
			return nil, fmt.Errorf("%w: field %q", ErrSyntax, name)
		}
		b.WriteString(name + "=" + value + "\n")
	}
	b.WriteByte('\n')
	b.Write(m.Body)
	if b.Len() > MaxPacket {
		return nil, fmt.Errorf("%w: %d bytes", ErrSyntax, b.Len())
	}
	return b.Bytes(), nil
}

// Decode reads a packet. The message keeps no part of p.
func Decode(p []byte) (*Message, error) {
	head, body, ok := bytes.Cut(p, []byte("\n\n"))
	if !ok || len(p) > MaxPacket || bytes.IndexByte(head, 0) >= 0 {
		return nil, ErrSyntax
	}
	lines := strings.Split(string(head), "\n")
	m := &Message{Verb: lines[0], Fields: make(map[string]string, len(lines)-1)}
	if !isName(m.Verb) {
		return nil, ErrSyntax
	}
	for _, l := range lines[1:] {
		name, value, ok := strings.Cut(l, "=")
		if !ok || !isName(name) {
			return nil, ErrSyntax
		}
		if _, twice := m.Fields[name]; twice {
			return nil, ErrSyntax
		}
		m.Fields[name] = value
	}
	if len(body) > 0 {
		m.Body = bytes.Clone(body)
	}
	return m, nil
}

func isName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}
