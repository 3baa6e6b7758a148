package login

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/authlib/sasl"
)

// Without a secret that nobody can guess there is no SCRAM, and the error says which setting helps.
func TestSCRAMSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ file, want, err string }{
		{write("good", "0123456789abcdef\nrest\n", 0o600), "0123456789abcdef", ""},
		{write("short", "0123456789abcde\n", 0o600), "", "shorter than 16 bytes"},
		{write("open", "0123456789abcdef\n", 0o644), "", "everybody may use it"},
		{write("empty", "", 0o600), "", "no password in its first line"},
		{dir + "/missing", "", "no such file"},
	} {
		w := newWorld(t, Protocol{}, "SCRAM_SECRET_FILE="+c.file)
		got, err := SCRAMSecret(w.Config)
		switch {
		case c.err == "" && (err != nil || string(got) != c.want):
			t.Errorf("%s: %q, %v", c.file, got, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) ||
			!strings.HasPrefix(err.Error(), "SCRAM_SECRET_FILE: ") || strings.Contains(err.Error(), "0123456789")):
			t.Errorf("%s: %v, want %s", c.file, err, c.err)
		}
	}
}

// bySASL are credentials that came by AUTHENTICATE.
func bySASL(c sasl.Credentials) *Credentials { return &Credentials{Credentials: c, bySASL: true} }

// answering is a client that answers every challenge in the same way.
type answering string

func (answering) Challenge(string) error { return nil }

func (a answering) ReadLine(int) ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString([]byte(a))), nil
}

// Whether a mechanism is offered goes by the settings' list, in capitals or not.
func TestOffered(t *testing.T) {
	for list, want := range map[string]bool{"PLAIN cram-md5": true, "PLAIN": false, "": false} {
		w := newWorld(t, imap)
		client := answering("bob " + strings.Repeat("0", 32))
		c, err := w.Exchange(t.Context(), client, "Cram-MD5", "", strings.Fields(list))
		if err != nil || c.Err != nil || c.User != "bob" || c.offered != want {
			t.Errorf("%q: %+v, %v", list, c, err)
		}
	}
}
