package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"testing"
)

// FuzzOpen: whatever arrives is refused or is what was sealed.
func FuzzOpen(f *testing.F) {
	a, _ := twins(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
	good, _ := a.Seal(nil, []byte("a NOOP\r\n"))
	end, _ := a.SealEnd(nil)
	f.Add(append(good, end...))
	f.Add([]byte{23, 3, 3, 0, 0})
	f.Add([]byte{20, 3, 3, 0, 1, 1})
	f.Add([]byte{23, 3, 3, 0xff, 0xff})
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, v := range suites {
			_, b := twins(v[0], v[1])
			for p := bytes.Clone(raw); ; {
				n, err := (*Codec)(nil).Split(p)
				if err != nil || n == 0 {
					break
				}
				data, _, err := b.Open(p[:n])
				if err != nil {
					break
				}
				if len(data) > 0 && string(data) != "a NOOP\r\n" {
					t.Fatalf("forged: %q", data)
				}
				p = p[n:]
			}
		}
	})
}

// FuzzUnmarshal: a state that is taken can be used, and is written and read as the same.
func FuzzUnmarshal(f *testing.F) {
	a, _ := twins(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	f.Add(a.Marshal())
	a, _ = twins(tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384)
	f.Add(a.Marshal())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Unmarshal(b, true)
		if err != nil {
			return
		}
		state := c.Marshal()
		if again, err := Unmarshal(state, true); err != nil || !bytes.Equal(again.Marshal(), state) {
			t.Fatalf("%x became %x: %v", b, state, err)
		}
		if c, err = Unmarshal(state, true); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Seal(nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzMessages: a peer that has the keys and sends whatever it likes, one record for each 2 bytes and their
// number of bytes after them, never has more than 16 records without data taken in a row, and data arrives
// as it was sent.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{typeHandshake, 5, 24, 0, 0, 1, 1, typeData, 1, 'x'})
	f.Add(bytes.Repeat([]byte{typeData, 0}, 20))
	f.Add(bytes.Repeat([]byte{typeAlert, 2, 1, 90}, 20))
	f.Add([]byte{typeHandshake, 4, 4, 0, 0, 9, typeHandshake, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, typeData, 1, 'x',
		typeAlert, 2, 1, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		for _, v := range suites {
			for _, client := range []bool{false, true} {
				a, b := twins(v[0], v[1])
				b.client = client
				for p, empty := script, 0; len(p) >= 2; {
					kind, n := p[0], min(int(p[1]), len(p)-2)
					sent := p[2 : 2+n]
					p = p[2+n:]
					raw, err := a.seal(nil, kind, sent) // type 0 is padding in TLS 1.3: what stands before it counts
					if err != nil {
						t.Fatal(err)
					}
					if v[0] == tls.VersionTLS13 && kind == typeHandshake && n >= 5 &&
						bytes.HasPrefix(sent[n-5:], []byte{24, 0, 0, 1}) {
						_ = a.next(&a.out)
					}
					data, ended, err := b.Open(raw)
					if err != nil || ended {
						break
					}
					if len(data) == 0 {
						if empty++; empty > maxEmpty {
							t.Fatalf("%d records without data", empty)
						}
						continue
					}
					if empty = 0; kind != 0 && kind != typeData || kind != 0 && !bytes.Equal(data, sent) {
						t.Fatalf("type %d: %q became %q", kind, sent, data)
					}
				}
			}
		}
	})
}
