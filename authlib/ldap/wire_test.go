package ldap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	ber "github.com/go-asn1-ber/asn1-ber"

	"mailproxy/authlib/pool"
)

// TestEncoding reads what the encoder writes with another library's decoder.
func TestEncoding(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 255, 256, 32767, 32768, 1<<31 - 1} {
		var e encoder
		e.num(tagInteger, n)
		p := ber.DecodePacket(e.b)
		if p == nil || p.Value != int64(n) {
			t.Errorf("%d was written as % x", n, e.b)
		}
		v, rest, err := next(e.b)
		if got, _ := number(v.content); err != nil || got != n || len(rest) != 0 {
			t.Errorf("%d came back as %d, %v", n, got, err)
		}
	}
	for _, s := range []string{"", "a", strings.Repeat("x", 127), strings.Repeat("x", 128), strings.Repeat("x", 70000)} {
		var e encoder
		seq := e.open(tagSequence)
		e.str(tagString, s)
		e.close(seq)
		p := ber.DecodePacket(e.b)
		if len(p.Children) != 1 || p.Children[0].Data.String() != s {
			t.Errorf("a string of %d bytes was written wrongly", len(s))
		}
	}
}

// TestFilter compares our encoding of filters to go-ldap's, for values that filter text would have to escape.
func TestFilter(t *testing.T) {
	base, err := compile("(objectClass=mailAccount)")
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"anna@example.com", "*", ")(mail=*", `\2a`, "a\x00b", "ü", "(&)", ""} {
		text := "(&(objectClass=mailAccount)(mail=" + goldap.EscapeFilter(user) + "))"
		want, err := goldap.DecompileFilter(mustCompile(t, text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := goldap.DecompileFilter(ber.DecodePacket([]byte(and(base, equal("mail", user)))))
		if err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", user, got, err, want)
		}
	}
	if f := and("", equal("a", "b")); f != equal("a", "b") {
		t.Errorf("no base filter: % x", f)
	}
}

func mustCompile(t *testing.T, text string) *ber.Packet {
	p, err := goldap.CompileFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// FuzzFilter checks that an e-mail map's filter keeps its shape whatever an address holds.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"a", "*", ")(x=*", `\2a`, "@realm@", "@user@", "\x00", "ü", "("} {
		f.Add(s, "example.com")
		f.Add("user", s)
	}
	c := &settings{emailmap: "(&(userid=@user@)(|(realm=@realm@)(alias=*)))"}
	f.Fuzz(func(t *testing.T, user, realm string) {
		got, err := c.mapFilter(user, realm)
		if err != nil {
			t.Fatalf("%q, %q: %v", user, realm, err)
		}
		p := ber.DecodePacket([]byte(got))
		if len(p.Children) != 2 || len(p.Children[1].Children) != 2 {
			t.Fatalf("%q, %q changed the filter: %x", user, realm, got)
		}
		for i, where := range []*ber.Packet{p.Children[0], p.Children[1].Children[0]} {
			want := []string{user, realm}[i]
			if where.Tag != goldap.FilterEqualityMatch || where.Children[1].Data.String() != want {
				t.Fatalf("%q, %q changed the filter: %x", user, realm, got)
			}
		}
	})
}

// FuzzMessages lets a server answer a search with anything: no panic, and the connection is given up unless the answer
// was in order.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Add([]byte("\x30\x15\x02\x01\x01\x64\x10\x04\x03a=b\x30\x09\x30\x07\x04\x01m\x31\x02\x04\x00\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Add([]byte("\x30\x84\x00\x00\x00\x0c\x02\x01\x01\x65\x07\x0a\x01\x31\x04\x00\x04\x00"))
	f.Add([]byte("\x30\x80\x02"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"))
	f.Add([]byte("\x30\x84\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		c := fake(answer)
		e, err := c.one(context.Background(), &query{base: "b", attributes: []string{"m"}})
		if err == nil && e != nil && len(e.dn) > len(answer) {
			t.Fatal("more than the server said")
		}
		var r *resultError
		if err != nil && !errors.As(err, &r) && !errors.Is(err, errSeveral) && !pool.Marked(err) {
			t.Fatalf("the connection would be used again after %v", err)
		}
		nextPage(answer)
	})
}

// fake is a connection to a server that says answer.
func fake(answer []byte) *conn {
	n := &fakeNet{Reader: bytes.NewReader(answer)}
	return newConn(n, time.Second)
}

type fakeNet struct {
	io.Reader
	net.Conn
}

func (f *fakeNet) Read(p []byte) (int, error)    { return f.Reader.Read(p) }
func (f *fakeNet) Write(p []byte) (int, error)   { return len(p), nil }
func (f *fakeNet) SetDeadline(t time.Time) error { return nil }

func TestTarget(t *testing.T) {
	for uri, want := range map[string]string{
		"ldap://h": "tcp h:389 h", "ldap://h/": "tcp h:389 h", "ldaps://h:1/": "tcp h:1 h", "ldap://[::1]:2": "tcp [::1]:2 ::1",
		"ldapi://%2Frun%2Fx": "unix /run/x localhost", "ldapi:///": "unix /run/slapd/ldapi localhost", "ldap:///": "tcp localhost:389 localhost",
		"http://h": "error", "h": "error",
	} {
		network, addr, host, err := target(uri)
		got := network + " " + addr + " " + host
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("target(%q) = %s, want %s", uri, got, want)
		}
	}
}
