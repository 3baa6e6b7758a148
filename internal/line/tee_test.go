package line

import (
	"io"
	"testing"
)

// What is consumed is shown, byte for byte, and nothing else.
func TestTeeAndReadPart(t *testing.T) {
	for _, socket := range []bool{true, false} {
		ours, theirs := pair(t, socket)
		go io.WriteString(theirs, "before\r\none\r\ntwo\nabcdefgh\nrest")
		r := NewReader(ours)
		if _, err := r.ReadLine(100); err != nil {
			t.Fatal(err)
		}
		var seen []byte
		r.Tee(func(p []byte) { seen = append(seen, p...) })
		if _, err := r.ReadLine(100); err != nil {
			t.Fatal(err)
		}
		var parts string
		for range 20 {
			p, err := r.ReadPart(3)
			if err != nil || len(p) == 0 || len(p) > 3 {
				t.Fatalf("%q, %v", p, err)
			}
			if parts += string(p); len(parts) >= 6 {
				break
			}
		}
		if err := r.ReadFull(make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		r.Tee(nil)
		if _, err := r.ReadLine(100); err != nil {
			t.Fatal(err)
		}
		consumed := "one\r\ntwo\nabcdefgh\n"[:len("one\r\n")+len(parts)+2]
		if string(seen) != consumed || parts != consumed[5:5+len(parts)] {
			t.Errorf("socket %v: seen %q, parts %q, want %q", socket, seen, parts, consumed)
		}
	}
}
