package text

import "testing"

func TestStringAndClear(t *testing.T) {
	secret := []byte("geheim")
	if got := StringAndClear(secret); got != "geheim" || string(secret) != "\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q, and %q is left", got, secret)
	}
}
