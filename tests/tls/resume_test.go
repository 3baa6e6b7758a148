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

	"mailproxy/internal/tlsconf/testcert"
	"mailproxy/tests/harness"
)

// A session is resumed by another process, on another port and by the other program, as long as the ticket keys last.
func TestResumption(t *testing.T) {
	p := newPKI(t)
	cache := filepath.Join(p.dir, "cache")
	keys := cache + ".keys"
	f := startFront(t, p, "127.0.1.1", p.env(harness.Env{"TLS_CACHEFILE": cache}), false)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		session := filepath.Join(p.dir, "session"+version)
		// TLS 1.3 has the ticket behind the handshake: s_client must still be there.
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
		save := []string{"-connect", f.addr + ":993", "-sess_out", session}
		use := []string{"-connect", f.addr + ":993", "-sess_in", session}
		check("first connection", "new", save...)
		check("second", "reused", use...)
		check("POP3", "reused", "-connect", f.addr+":995", "-sess_in", session)
		check("STARTTLS", "reused", "-starttls", "imap", "-connect", f.addr+":143", "-sess_in", session)

		// Thirteen hours later there is a new key, and the old one still serves.
		before := len(keyLines(t, keys))
		age(t, keys, 13*3600)
		check("after a rotation", "reused", use...)
		if after := len(keyLines(t, keys)); after != min(before+1, 3) {
			t.Errorf("%d keys, then %d", before, after)
		}

		// A file that others can read is no secret.
		os.Chmod(keys, 0o644)
		old := f.imaps.Log.Find("can be read or written by others: replaced")
		check("open file", "new", use...)
		f.imaps.Log.WaitN(t, len(old)+1, "WARN: .*cache.keys can be read or written by others: replaced")
		if st, err := os.Stat(keys); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", st, err)
		}

		check("next", "new", save...)
		check("next again", "reused", use...)
		os.WriteFile(keys, []byte("damaged"), 0o600)
		old = f.imaps.Log.Find("is damaged: replaced")
		check("damaged file", "new", use...)
		f.imaps.Log.WaitN(t, len(old)+1, "WARN: .*cache.keys is damaged: replaced")
		check("then", "new", save...)
		check("then again", "reused", use...)
	}
	if warned := f.imaps.Log.Find("WARN"); len(warned) != 4 {
		t.Errorf("warnings: %q", warned)
	}
}

// Without a key file nothing is resumed, and no ticket is given out.
func TestNoResumption(t *testing.T) {
	p := newPKI(t)
	f := startFront(t, p, "127.0.1.1", p.env(nil), false)
	out := openssl(t, []string{"-connect", f.addr + ":993", "-ign_eof"}, "z LOGOUT")
	if strings.Contains(out, "TLS session ticket:") {
		t.Errorf("a ticket nobody can use:\n%s", out)
	}
}

// With relayd a session is resumed whichever process and protocol it was begun with, with no key file: the keys are relayd's,
// until it ends. A client certificate is not asked for again, and is still known.
func TestRelaydResumption(t *testing.T) {
	p := newPKI(t)
	p.relayd, p.alone = harness.Relayd(t), true
	cert := testcert.Write(t, filepath.Join(p.dir, "client.pem"), p.ca.Issue(t, testcert.Spec{Name: "x", Email: "here"}).PEM(t))
	f := startFront(t, p, "127.0.1.1", p.env(harness.Env{"TLS_VERIFYPEER": "PEER", "TLS_EXTERNAL": "emailaddress"}), false)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		session := filepath.Join(p.dir, "session"+version)
		check := func(what, want string, args ...string) {
			t.Helper()
			out := openssl(t, append(args, version, "-ign_eof"), "z LOGOUT", "QUIT")
			if !strings.Contains(out, want+", TLSv1") {
				t.Errorf("%s %s: want %s\n%s", version, what, want, out)
			}
			if greeting := strings.Contains(out, "AUTH=EXTERNAL"); strings.Contains(out, "* OK [") && !greeting {
				t.Errorf("%s %s: the certificate is not known\n%s", version, what, out)
			}
		}
		use := []string{"-sess_in", session}
		check("first connection", "New", "-connect", f.addr+":993", "-sess_out", session, "-cert", cert)
		check("second", "Reused", append(use, "-connect", f.addr+":993")...)
		check("POP3", "Reused", append(use, "-connect", f.addr+":995")...)
		check("STARTTLS", "New", append(use, "-starttls", "imap", "-connect", f.addr+":143", "-cert", cert)...)
	}
	if n := p.metric(t, `tls_handshakes_total{result="resumed"}`); n != 4 {
		t.Errorf("relayd counts %d resumed sessions", n)
	}
	if files, _ := filepath.Glob(filepath.Join(p.dir, "*.keys")); len(files) > 0 {
		t.Errorf("%q", files)
	}
}

func keyLines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^[0-9]+ [0-9a-f]{64}$`).FindAllString(string(text), -1)
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
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
