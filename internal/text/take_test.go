package text

import "testing"

func TestTake(t *testing.T) {
	secret := []byte("geheim")
	if got := Take(secret); got != "geheim" || string(secret) != "\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q, and %q is left", got, secret)
	}
}
