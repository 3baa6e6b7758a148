package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestMailhosts: logins are counted by mailhost, and so many names that memory is no concern.
func TestMailhosts(t *testing.T) {
	var m mailhosts
	for i := range maxMailhosts + 5 {
		m.add(fmt.Sprintf("mail%d", i))
	}
	m.add("mail0")
	var out strings.Builder
	m.write(&out)
	for _, want := range []string{"logins_total{mailhost=\"mail0\"} 2\n", "logins_total{mailhost=\"mail999\"} 1\n", "logins_total{mailhost=\"other\"} 5\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q", want)
		}
	}
	if n := len(m.counts); n != maxMailhosts+1 {
		t.Errorf("%d names", n)
	}
}
