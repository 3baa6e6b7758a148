package logqueue

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// pieces notes each Write.
type pieces struct {
	got []string
	err error
}

func (p *pieces) Write(b []byte) (int, error) {
	p.got = append(p.got, string(b))
	return len(b), p.err
}

// TestWriteLines: lines are written together, as long as a pipe that other processes write to as well keeps
// each in one piece.
func TestWriteLines(t *testing.T) {
	short, half, full, long := "short", strings.Repeat("h", whole/2-1), strings.Repeat("f", whole-1),
		strings.Repeat("l", whole)
	for _, c := range []struct{ lines, want []string }{
		{nil, nil},
		{[]string{short}, []string{"short\n"}},
		{[]string{short, short}, []string{"short\nshort\n"}},
		{[]string{half, half, short}, []string{half + "\n" + half + "\n", "short\n"}},
		{[]string{half, short, half, short}, []string{half + "\nshort\n", half + "\nshort\n"}},
		{[]string{full, full}, []string{full + "\n", full + "\n"}},
		{[]string{short, long, short, short}, []string{"short\n", long + "\n", "short\nshort\n"}},
	} {
		p := &pieces{err: errors.New("full")}
		err := WriteLines(p, c.lines, func(b []byte, line string) []byte { return append(b, line+"\n"...) })
		if !slices.Equal(p.got, c.want) {
			t.Errorf("%.10q: %d pieces, %.20q, want %.20q", c.lines, len(p.got), p.got, c.want)
		}
		if (err == nil) != (c.want == nil) {
			t.Errorf("%.10q: %v", c.lines, err)
		}
	}
}
