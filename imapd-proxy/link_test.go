package main

import (
	"os/exec"
	"strings"
	"testing"
)

// What the programs that every login starts link decides how long they take to start.
func TestLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "mailproxy/imapd-proxy", "mailproxy/pop3d-proxy").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "mailproxy/internal/frontend\n") {
		t.Fatalf("not a list of packages: %q", out)
	}
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		for _, heavy := range []string{"crypto", "encoding/json", "encoding/asn1", "math/big", "golang.org/x/crypto", "regexp", "text/template", "net/http"} {
			if path == heavy || strings.HasPrefix(path, heavy+"/") {
				t.Errorf("%s is linked", path)
			}
		}
	}
}
