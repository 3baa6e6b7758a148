package fronttest

import (
	"encoding/base64"
	"maps"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xscram "github.com/xdg-go/scram"

	"mailproxy/authlib/scram"
	"mailproxy/internal/throttle"
	"mailproxy/tests/transcript"
)

// gilsKeys are those of the password "sec ret".
func gilsKeys() string {
	h := scram.SHA256()
	keys, err := h.Derive("sec ret", []byte("gil's own salt.."), scram.DefaultIterations)
	if err != nil {
		panic(err)
	}
	return "{" + h.Name + "}" + keys.String()
}

// scramAnswers are the client's final messages to ${challenge}, after the first message "n,,n=NAME,r=abc".
func scramAnswers() map[string]func(map[string]string) (string, error) {
	return map[string]func(map[string]string) (string, error){
		"scram_ann":      scramFinal(xscram.SHA256, "ann", "sec ret"),
		"scram_ann_sha1": scramFinal(xscram.SHA1, "ann", "sec ret"),
		"scram_gil":      scramFinal(xscram.SHA256, "gil", "sec ret"),
		"scram_bob":      scramFinal(xscram.SHA256, "bob", "geheim"),
		"scram_zoe":      scramFinal(xscram.SHA256, "zoe", "sec ret"),
		"scram_wrong":    scramFinal(xscram.SHA256, "ann", "wrong"),
	}
}

func scramFinal(h xscram.HashGeneratorFcn, user, clear string) func(map[string]string) (string, error) {
	return func(vars map[string]string) (string, error) {
		c, err := h.NewClient(user, clear, "")
		if err != nil {
			return "", err
		}
		conv := c.WithNonceGenerator(func() string { return "abc" }).NewConversation()
		challenge, err := base64.StdEncoding.DecodeString(vars["challenge"])
		if err != nil {
			return "", err
		}
		if _, err = conv.Step(""); err != nil {
			return "", err
		}
		final, err := conv.Step(string(challenge))
		return base64.StdEncoding.EncodeToString([]byte(final)), err
	}
}

// SCRAMLogs shows that a wrong proof is a failed login, for the log and for the throttle, with the name that
// was tried; and that nothing else is one.
func (f *Front) SCRAMLogs(
	t *testing.T, settings map[string]string, command func(mechanism, message string) string, refused string,
) {
	const sha256 = "SCRAM-SHA-256"
	for _, c := range []struct {
		name, user, mechanism, flag string
		answer                      string // "" = the server refuses the first message
		log                         string
		failures                    int
	}{
		{"wrong proof", "ann", sha256, "n", "C: ${scram_wrong}\n",
			"INFO: LOGIN FAILED, method=SCRAM-SHA-256, " + Where, 1},
		{"nobody", "zoe", sha256, "n", "C: ${scram_zoe}\n",
			"INFO: LOGIN FAILED, method=SCRAM-SHA-256, " + Where, 1},
		{"no keys", "hal", sha256, "n", "",
			"WARN: LOGIN REFUSED, user=hal, method=SCRAM-SHA-256, " + Where + ": the account has neither stored " +
				"keys of this mechanism nor a clear password: give it one of them, or do not offer the mechanism", 0},
		{"another kind of keys", "gil", "SCRAM-SHA-1", "n", "",
			"WARN: LOGIN REFUSED, user=gil, method=SCRAM-SHA-1, " + Where + ": the account has neither", 0},
		{"another connection", "ann", sha256, "p=tls-exporter", "",
			"WARN: LOGIN REFUSED, method=SCRAM-SHA-256, " + Where + ": the client sees another TLS connection", 0},
		{"database down", "carl", sha256, "n", "",
			"WARN: authentication error, " + Where + ": database down", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			table := filepath.Join(t.TempDir(), "throttle")
			settings := maps.Clone(settings)
			settings["THROTTLE_FILE"] = table
			s := f.Begin(t, Options{Settings: settings})
			text := "S* .*\n" + command(c.mechanism, c.flag+",,n="+c.user+",r=abc") + "\n"
			if c.answer != "" {
				text += `S~ \+ (?P<challenge>\S+)` + "\n" + c.answer
			}
			r := &transcript.Runner{Conn: s.Conn, Funcs: scramAnswers()}
			if err := r.Play(transcript.MustParse(t, text+refused+"\nC-\nS-")[0]); err != nil {
				t.Fatalf("%v\n%s", err, s.Log)
			}
			s.Wait(t)
			if log := s.Log.String(); strings.Count(log, c.log) != 1 ||
				strings.Contains(log, "LOGIN FAILED") != (c.failures > 0) {
				t.Errorf("log\n%swant %s", log, c.log)
			}
			counted, err := throttle.Open(table)
			if err != nil {
				t.Fatal(err)
			}
			defer counted.Close()
			n, err := counted.Failed(netip.MustParseAddr(clientIP), time.Now())
			named, nerr := counted.FailedName(c.user, time.Now())
			if n != c.failures+1 || named != c.failures+1 || err != nil || nerr != nil {
				t.Errorf("the throttle counts %d and %d with this one, want %d: %v, %v",
					n, named, c.failures+1, err, nerr)
			}
		})
	}
}
