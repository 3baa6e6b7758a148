package imap

import (
	"bytes"
	"context"
	"testing"

	"mailproxy/internal/inetd"
	"mailproxy/tests/transcript"
)

// What was promised and is not there is said once, when somebody is looking for it, and only then.
func TestWarnOfMissing(t *testing.T) {
	promised := "IMAP4rev1 IDLE THREAD=REFERENCES AUTH=PLAIN SASL-IR"
	const warning = "WARN: mail.example (192.0.2.1:143) does not have what clients are promised: THREAD=REFERENCES\n"
	for name, c := range map[string]struct {
		settings []string
		answer   string
		want     string
	}{
		"missing":         {[]string{"DEBUG_LOGIN=1"}, "a1 OK [CAPABILITY IMAP4REV1 idle UIDPLUS] in", warning},
		"all there":       {[]string{"DEBUG_LOGIN=1"}, "a1 OK [CAPABILITY IMAP4rev1 IDLE THREAD=REFERENCES] in", ""},
		"not told":        {[]string{"DEBUG_LOGIN=1"}, "a1 OK in", ""},
		"nobody looks":    {nil, "a1 OK [CAPABILITY IMAP4rev1] in", ""},
		"it is passed on": {[]string{"DEBUG_LOGIN=1", "IMAP_PROXY_FOREIGN=2"}, "a1 OK [CAPABILITY IMAP4rev1] in", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, theirs := testMailhost(t, c.settings...)
			m.Offered = promised
			var log bytes.Buffer
			m.Log = inetd.NewLog(&log)
			done := make(chan error, 1)
			go func() {
				r := &transcript.Runner{Conn: theirs, As: transcript.Server}
				scripts := transcript.MustParse(t, "S: * OK [CAPABILITY IMAP4rev1] ready\nC: a1 LOGIN \"ann@example.com\" \"sec ret\"\nS: "+c.answer)
				done <- r.Play(scripts[0])
			}()
			if err := loginAtMailhost(context.Background(), m); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if log.String() != c.want {
				t.Errorf("log %q, want %q", log.String(), c.want)
			}
		})
	}
}
