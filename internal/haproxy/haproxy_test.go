package haproxy

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pires/go-proxyproto"
)

// stream reads exactly, and shows afterwards what was left.
type stream struct{ *bytes.Reader }

func (s stream) ReadFull(p []byte) error {
	_, err := io.ReadFull(s.Reader, p)
	return err
}

func v2(command, family byte, body ...byte) string {
	n := len(body)
	return string(proxyproto.SIGV2) + string([]byte{0x20 | command, family, byte(n >> 8), byte(n)}) +
		string(body)
}

// addresses of 192.0.2.7:4711 to 192.0.2.1:143.
var v4 = []byte{192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x67, 0, 143}

func tlv(kind byte, value string) string {
	return string([]byte{kind, byte(len(value) >> 8), byte(len(value))}) + value
}

func TestRead(t *testing.T) {
	client, server := netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:143")
	tls := func(flags, verify byte) string {
		return tlv(0x20, string([]byte{flags, 0, 0, 0, verify})+tlv(0x21, "TLSv1.3")+tlv(0x22, "joe")+tlv(0x23,
			"TLS_AES_128_GCM_SHA256"))
	}
	withTLS := Header{Client: client, Server: server, TLS: true, TLSVersion: "TLSv1.3"}
	verified := withTLS
	verified.CommonName = "joe"
	cases := []struct {
		name, in string
		want     Header
	}{
		{"v1 TCP4", "PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\n", Header{Client: client, Server: server}},
		{"v1 TCP6", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 143\r\n",
			Header{Client: netip.MustParseAddrPort("[2001:db8::7]:4711"),
				Server: netip.MustParseAddrPort("[2001:db8::1]:143")}},
		{"v1 unknown", "PROXY UNKNOWN\r\n", Header{Local: true}},
		{"v2 local", v2(0, 0), Header{Local: true}},
		{"v2 TCP4", v2(1, 0x11, v4...), Header{Client: client, Server: server}},
		{"v2 TLS", v2(1, 0x11, []byte(string(v4)+tls(1, 1))...), withTLS},
		{"v2 certificate that was not verified", v2(1, 0x11, []byte(string(v4)+tls(3, 1))...), withTLS},
		{"v2 name without a certificate", v2(1, 0x11, []byte(string(v4)+tls(1, 0))...), withTLS},
		{"v2 verified certificate", v2(1, 0x11, []byte(string(v4)+tls(3, 0))...), verified},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := bytes.NewReader([]byte(c.in + "a LOGIN joe pw\r\n"))
			h, err := Read(stream{r})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, *h, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
				t.Error(d)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "a LOGIN joe pw\r\n" {
				t.Errorf("left in the connection: %q", rest)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	cases := map[string]struct {
		in   string
		want error // nil = any
	}{
		"nothing":             {"", ErrNothing},
		"a client":            {"a LOGIN joe pw\r\n", errNoHeader},
		"begins like v1":      {"PROXYX TCP4 a b\r\n", errNoHeader},
		"begins like v2":      {"\r\n\r\n\x00\r\nQUITX\r\n", errNoHeader},
		"v1 cut short":        {"PROXY TCP4 192.0.2.7", errNoHeader},
		"v2 cut short":        {v2(1, 0x11, v4...)[:20], errNoHeader},
		"v1 too long":         {"PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n", nil},
		"v1 address":          {"PROXY TCP4 example 192.0.2.1 4711 143\r\n", nil},
		"v1 port":             {"PROXY TCP4 192.0.2.7 192.0.2.1 65536 143\r\n", nil},
		"v2 too long":         {v2(1, 0x11, make([]byte, maxHeader+1)...), nil},
		"v2 unix":             {v2(1, 0x31, make([]byte, 216)...), nil},
		"v2 UDP":              {v2(1, 0x12, v4...), nil},
		"v2 command":          {v2(7, 0x11, v4...), nil},
		"v2 TLS cut short":    {v2(1, 0x11, []byte(string(v4)+tlv(0x20, "abc"))...), nil},
		"v2 TLV beyond":       {v2(1, 0x11, []byte(string(v4)+"\x20\x00\x50x")...), nil},
		"v2 addresses missed": {v2(1, 0x11, v4[:8]...), nil},
	}
	for name, c := range cases {
		h, err := Read(stream{bytes.NewReader([]byte(c.in))})
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v; want an error %v", name, h, err, c.want)
		}
	}
}

func TestFormatIsRead(t *testing.T) {
	for _, version := range []int{1, 2} {
		for _, pair := range [][2]string{
			{"192.0.2.7:4711", "192.0.2.1:143"}, {"[2001:db8::7]:4711", "[2001:db8::1]:143"},
		} {
			client, server := netip.MustParseAddrPort(pair[0]), netip.MustParseAddrPort(pair[1])
			b, err := Format(version, client, server)
			if err != nil {
				t.Fatal(err)
			}
			h, err := Read(stream{bytes.NewReader(b)})
			if err != nil || h.Client != client || h.Server != server {
				t.Errorf("version %d, %v: read back %+v, %v", version, pair, h, err)
			}
		}
	}
	client, server := netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:143")
	b, err := FormatTLS(client, server, "TLS1.3")
	if err != nil {
		t.Fatal(err)
	}
	h, err := Read(stream{bytes.NewReader(b)})
	want := &Header{Client: client, Server: server, TLS: true, TLSVersion: "TLS1.3"}
	if err != nil || *h != *want {
		t.Errorf("read back %+v, %v, want %+v", h, err, want)
	}
	if _, err := Format(2, netip.AddrPort{}, netip.AddrPort{}); err == nil {
		t.Error("an unknown client was formatted")
	}
}

// FuzzRead: what Read takes for a client can be formatted and read again, and never more than the header is
// consumed.
func FuzzRead(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\n"))
	f.Add([]byte(v2(0, 0)))
	f.Add([]byte(v2(1, 0x11, []byte(string(v4)+tlv(0x20, "\x01\x00\x00\x00\x00"+tlv(0x21, "TLSv1.3")))...)))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, err := Read(stream{r})
		if used := len(in) - r.Len(); used > 16+maxHeader {
			t.Fatalf("consumed %d bytes", used)
		}
		if err != nil || h.Local {
			return
		}
		b, err := Format(2, h.Client, h.Server)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Read(stream{bytes.NewReader(b)})
		if err != nil || again.Client.Port() != h.Client.Port() ||
			again.Client.Addr().Unmap() != h.Client.Addr().Unmap() {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}
