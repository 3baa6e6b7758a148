package imap

import (
	"bytes"
	"context"
	"testing"

	"mailproxy/internal/maillog"
	"mailproxy/tests/transcript"
)

// What was promised and is not there is said once, when somebody is looking for it, and only then.
func TestWarnOfMissing(t *testing.T) {
	promised := "IMAP4rev1 IDLE THREAD=REFERENCES AUTH=PLAIN SASL-IR"
	const warning = "WARN: mail.example (192.0.2.1:143) does not have what clients are promised: " +
		"THREAD=REFERENCES\n"
	for name, c := range map[string]struct {
		settings []string
		answer   string
		want     string
	}{
		"missing": {[]string{"DEBUG_LOGIN=1"}, "a1 OK [CAPABILITY IMAP4REV1 idle UIDPLUS] in", warning},
		"all there": {[]string{"DEBUG_LOGIN=1"}, "a1 OK [CAPABILITY IMAP4rev1 IDLE THREAD=REFERENCES] in",
			""},
		"not told":     {[]string{"DEBUG_LOGIN=1"}, "a1 OK in", ""},
		"nobody looks": {nil, "a1 OK [CAPABILITY IMAP4rev1] in", ""},
		"it is passed on": {[]string{"DEBUG_LOGIN=1", "IMAP_PROXY_FOREIGN=2"}, "a1 OK [CAPABILITY IMAP4rev1] in",
			""},
	} {
		t.Run(name, func(t *testing.T) {
			m, theirs := testMailhost(t, c.settings...)
			m.Offered = promised
			var log bytes.Buffer
			m.Log = maillog.NewLog(&log)
			done := make(chan error, 1)
			go func() {
				r := &transcript.Runner{Conn: theirs, As: transcript.Server}
				scripts := transcript.MustParse(t,
					"S: * OK [CAPABILITY IMAP4rev1] ready\nC: a1 LOGIN \"ann@example.com\" \"sec ret\"\nS: "+c.answer)
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

// What a mailhost says to the client reaches it, in order and as it is.
func TestWhatIsTheClients(t *testing.T) {
	vars := words()
	const foreign1, foreign2 = "IMAP_PROXY_FOREIGN=1", "IMAP_PROXY_FOREIGN=2"
	const forward = "PROXY_FORWARD_CLIENT=ID"
	runLogins(t, []loginCase{
		{name: "only what is said after the login command is the client's", setting: forward, server: `
			S= "* OK [CAPABILITY IMAP4rev1] ready\r\n* OK [ALERT] before\r\n"
			C~ I1 ID .*
			S: * ID ("name" "x")
			S: I1 OK
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * OK [ALERT] quota is nearly used up
			S: * OK [CAPABILITY IMAP4rev1 X] list
			S: * CAPABILITY IMAP4rev1 X
			S: * BYE not really
			S= "* 3 EXISTS\n"
			S: a1 OK [ALERT] maintenance at noon`,
			reply: "* OK [ALERT] quota is nearly used up\r\n* 3 EXISTS\n* OK [ALERT] maintenance at noon\r\n" +
				"a1 OK connected to proxy server.\r\n"},
		{name: "too much of it", server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * OK one
			S: * OK ${megabyte}
			S: * X {1048576}
			S: ${megabyte})
			S: * OK two
			S: a1 OK fine`,
			reply: "* OK one\r\n* OK two\r\na1 OK connected to proxy server.\r\n"},
		{name: "the master user's password is not for the client", change: master, server: `
			S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready
			C~ a1 AUTHENTICATE PLAIN .*
			S: * OK I heard s3cr3t
			S: a1 OK [ALERT] s3cr3t is weak`,
			reply: "* OK [ALERT] *** is weak\r\na1 OK connected to proxy server.\r\n"},
		{name: "foreign 1", setting: foreign1, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK [CAPABILITY X] fine
			C: a1 CAPABILITY
			S: * CAPABILITY IMAP4rev1 X Y
			S= "a1 OK done\r\n* 1 EXISTS\r\n"`,
			reply: "* CAPABILITY IMAP4rev1 X Y\r\na1 OK done\r\n", rest: "* 1 EXISTS\r\n"},
		{name: "foreign 1 refused", setting: foreign1, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine
			C: a1 CAPABILITY
			S: a1 BAD what?`},
		{name: "foreign 1 garbage", setting: foreign1, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine
			C: a1 CAPABILITY
			S: garbage`,
			step: "capability", cause: "garbage"},
		{name: "foreign 1, alert, long lines, bare LF", setting: foreign1, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * OK [ALERT] hi
			S= "a1 OK fine\r\n* OK behind\n"
			C: a1 CAPABILITY
			S: * CAPABILITY ${tenkilobytes}
			S: * LIST () "/" {8}
			S= "a1 BAD \n\n"
			S= "a1 OK done\n* 1 EXISTS\r\n"`,
			reply: "* OK [ALERT] hi\r\n* OK behind\n* CAPABILITY " + vars["tenkilobytes"] +
				"\r\n* LIST () \"/\" {8}\r\na1 BAD \n\na1 OK done\n",
			rest: "* 1 EXISTS\r\n"},
		{name: "foreign 1, more than fits: the session passes it on", setting: foreign1, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine
			C: a1 CAPABILITY
			S: * OK ${hundred}
			S: a1 OK done`,
			reply: "* OK " + vars["hundred"][:maxAnswer-5], rest: vars["hundred"][maxAnswer-5:] +
				"\r\na1 OK done\r\n"},
		{name: "foreign 1, a literal that does not fit", setting: foreign1, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine
			C: a1 CAPABILITY
			S: * X {102400}
			S: ${hundred}
			S: a1 OK done`,
			reply: "* X {102400}\r\n", rest: vars["hundred"] + "\r\na1 OK done\r\n"},
		{name: "foreign 2, in between", setting: foreign2, server: `
			S: * OK [CAPABILITY before] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * 1 EXISTS
			S= "a1 OK fine\r\n* 2 EXISTS\n"
			C: C1 CAPABILITY
			S: * OK [ALERT] hi
			S: * CAPABILITY IMAP4rev1 Z
			S: * X {9}
			S: C1 OK x
			S:  y
			S: C1 OK done
			S: * 3 EXISTS`,
			reply: "* 1 EXISTS\r\n* 2 EXISTS\n* OK [ALERT] hi\r\n* X {9}\r\nC1 OK x\r\n y\r\n" +
				"a1 OK [CAPABILITY IMAP4rev1 Z] connected to proxy server.\r\n",
			rest: "* 3 EXISTS\r\n"},
		{name: "foreign 2, without end", setting: foreign2, server: `
			S: * OK [CAPABILITY before] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine
			C: C1 CAPABILITY
			S: * OK ${hundred}`,
			step: "capability", cause: "without end"},
		{name: "foreign 2 by code", setting: foreign2, server: `
			S: * OK [CAPABILITY before] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK [CAPABILITY IMAP4rev1 X Y] fine`,
			reply: "a1 OK [CAPABILITY IMAP4rev1 X Y] connected to proxy server.\r\n"},
		{name: "foreign 2 untagged", setting: foreign2, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: * CAPABILITY IMAP4rev1  X 
			S: a1 OK fine`,
			reply: "a1 OK [CAPABILITY IMAP4rev1 X] connected to proxy server.\r\n"},
		{name: "foreign 2 asked", setting: foreign2, server: `
			S: * OK [CAPABILITY before] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine
			C: C1 CAPABILITY
			S: * CAPABILITY IMAP4rev1 Z
			S: C1 OK done`,
			reply: "a1 OK [CAPABILITY IMAP4rev1 Z] connected to proxy server.\r\n"},
		{name: "foreign 2 with nothing to tell", setting: foreign2, server: `
			S: * OK [CAPABILITY IMAP4rev1] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine
			C: C1 CAPABILITY
			S= "* CAPABILITY A\x07B\r\n"
			S: C1 OK done`},
	})
}
