package tls

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// A session is resumed by another process, and on another port, as long as the ticket keys last. A resident
// front end looks at the file of keys once a minute.
func TestResumption(t *testing.T) { frontEnds(t, testResumption) }

func testResumption(t *testing.T, p *pki) {
	cache := filepath.Join(p.Dir, "cache")
	keys := cache + ".keys"
	p.mode.Give(t, p.Dir)
	f := startFront(t, p, "127.0.1.1", p.env(harness.Env{"TLS_CACHEFILE": cache}))
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		session := filepath.Join(p.Dir, "session"+version)
		// TLS 1.3 has the ticket after the handshake: s_client must still be there.
		connect := func(args ...string) string {
			out := openssl(t, append(args, version, "-ign_eof"), "z LOGOUT", "QUIT")
			switch {
			case strings.Contains(out, "Reused, TLSv1"):
				return "reused"
			case strings.Contains(out, "New, TLSv1"):
				return "new"
			}
			return out
		}
		check := func(what, want string, args ...string) {
			t.Helper()
			if got := connect(args...); got != want {
				t.Errorf("%s %s: %s, want %s", version, what, got, want)
			}
		}
		save := []string{"-connect", f.At("IMAPS"), "-sess_out", session}
		use := []string{"-connect", f.At("IMAPS"), "-sess_in", session}
		check("first connection", "new", save...)
		check("second", "reused", use...)
		check("POP3", "reused", "-connect", f.At("POP3S"), "-sess_in", session)
		check("STARTTLS", "reused", "-starttls", "imap", "-connect", f.At("IMAP"), "-sess_in", session)

		// Thirteen hours later there is a new key, and the old one still serves.
		before := len(keyLines(t, keys))
		age(t, keys, 13*3600)
		f.Reread(t, "IMAPS")
		check("after a rotation", "reused", use...)
		if after := len(keyLines(t, keys)); after != min(before+1, 3) {
			t.Errorf("%d keys, then %d", before, after)
		}

		// A file that others can read is no secret.
		os.Chmod(keys, 0o644)
		f.Reread(t, "IMAPS")
		old := f.Log("IMAPS").Find("can be read or written by others: replaced")
		check("open file", "new", use...)
		f.Log("IMAPS").WaitN(t, len(old)+1, "WARN: .*cache.keys can be read or written by others: replaced")
		if st, err := os.Stat(keys); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", st, err)
		}

		check("next", "new", save...)
		check("next again", "reused", use...)
		os.WriteFile(keys, []byte("damaged"), 0o600)
		if !p.mode.Launched() {
			check("damaged file that is not looked at", "reused", use...)
		}
		f.Reread(t, "IMAPS")
		old = f.Log("IMAPS").Find("is damaged: replaced")
		check("damaged file", "new", use...)
		f.Log("IMAPS").WaitN(t, len(old)+1, "WARN: .*cache.keys is damaged: replaced")
		check("then", "new", save...)
		check("then again", "reused", use...)
		f.Reread(t, "POP3S") // which still had the keys from before the damage
	}
	f.Log("IMAPS").WaitN(t, 4, "WARN: .*(keys|TLS)")
}

// Without a key file nothing is resumed, and no ticket is given out.
func TestNoResumption(t *testing.T) { frontEnds(t, testNoResumption) }

func testNoResumption(t *testing.T, p *pki) {
	f := startFront(t, p, "127.0.1.1", p.env(nil))
	out := openssl(t, []string{"-connect", f.At("IMAPS"), "-ign_eof"}, "z LOGOUT")
	if strings.Contains(out, "TLS session ticket:") {
		t.Errorf("a ticket nobody can use:\n%s", out)
	}
}

func keyLines(t *testing.T, path string) []string {
	t.Helper()
	text := harness.ReadFile(t, path)
	return regexp.MustCompile(`(?m)^[0-9]+ [0-9a-f]{64}$`).FindAllString(text, -1)
}

// age makes the keys of a file older.
func age(t *testing.T, path string, seconds int64) {
	t.Helper()
	text := "mailproxy TLS ticket keys 1\n"
	for _, line := range keyLines(t, path) {
		when, key, _ := strings.Cut(line, " ")
		made, err := strconv.ParseInt(when, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("%d %s\n", made-seconds, key)
	}
	text += fmt.Sprintf("sum %x\n", sha256.Sum256([]byte(text)))
	harness.WriteFile(t, path, text, 0o600)
}
