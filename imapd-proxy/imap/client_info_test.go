package imap

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"mailproxy/internal/mailhost"
	"mailproxy/tests/fronttest"
	"mailproxy/tests/transcript"
)

// fields makes n fields of ID whose names have 30 and whose values 1,024 bytes, as long as RFC 2971 section
// 3.3 allows.
func fields(n int, value string) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%q %s", fmt.Sprintf("field-%024d", i), value))
	}
	return strings.Join(list, " ")
}

// ID takes all that RFC 2971 allows, in any of its forms; other commands are as short as ever, and a flood is
// refused.
func TestLongID(t *testing.T) {
	quoted := `"` + strings.Repeat(`\"`, 1024) + `"`
	literal := "{1024+}\r\n" + strings.Repeat("x", 1024)
	s := front().Begin(t, fronttest.Options{Settings: map[string]string{"IMAP_ID_FIELDS": ""}})
	r := &transcript.Runner{Conn: s.Conn}
	play := func(text string) { t.Helper(); r.MustPlay(t, text) }
	play("S~ \\* OK .*")
	for _, c := range []struct{ said, want string }{
		{"a1 ID (" + fields(30, quoted) + ")", "S~ \\* ID .*\nS: a1 OK ID completed"},
		{"a2 ID (" + fields(30, literal) + ")", "S~ \\* ID .*\nS: a2 OK ID completed"},
		{"a3 ID (" + fields(31, `"x"`) + ")", "S: a3 BAD Error in IMAP command received by server."},
		{"a4 ID (" + fields(30, "{8000+}\r\n"+strings.Repeat("x", 8000)) + ")",
			"S: * NO [ALERT] IMAP command too long.\nS: a4 BAD Error in IMAP command received by server."},
		{"a5 ID (" + fields(60, quoted) + ")",
			"S: * NO [ALERT] IMAP command too long.\nS: a5 BAD Error in IMAP command received by server."},
		{"a6 LOGIN ann " + fields(20, quoted),
			"S: * NO [ALERT] IMAP command too long.\nS: a6 BAD Error in IMAP command received by server."},
	} {
		go s.Conn.Write([]byte(c.said + "\r\n"))
		play(c.want)
	}
	play("C-\nS-")
	s.Wait(t)
}

// What goes along with our own fields: 30 in all, none that a mailhost believes, none twice, none that can
// not be quoted.
func TestClientFields(t *testing.T) {
	f := func(name, value string) mailhost.IDField { return mailhost.IDField{Name: name, Value: value} }
	said := []mailhost.IDField{
		f("name", "Thunder\"bird"), {Name: "os", Nil: true}, f("X-Originating-IP", "192.0.2.1"), f("x-proxy-ttl",
			"1"), f("NAME", "again"),
		f("vendor", "Grün"), f("bell", "\a"), f("", "x"), f(strings.Repeat("n", 31), "x"), f("long",
			strings.Repeat("v", 1025)), f("version", ""),
	}
	var got []string
	for _, f := range clientFields(said, 26) {
		got = append(got, fmt.Sprintf("%s=%s/%v", f.Name, f.Value, f.Nil))
	}
	if want := `name=Thunder"bird/false os=/true version=/false`; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if n := len(clientFields(said, 2)); n != 2 {
		t.Errorf("%d fields, want 2", n)
	}
}

// The client's fields follow ours.
func TestForwardedFields(t *testing.T) {
	const forward = "PROXY_FORWARD_CLIENT=ID"
	const own = `"x-originating-ip" "192\.0\.2\.7" "x-originating-port" "4711" ` +
		`"x-connected-ip" "2001:db8::1" "x-connected-port" "143"`
	client := func(m *mailhost.Conn) {
		m.ID = []mailhost.IDField{{Name: "name", Value: "Mail"}, {Name: "os", Nil: true},
			{Name: "x-real-ip", Value: "192.0.2.9"}}
	}
	runLogins(t, []loginCase{
		{name: "along", setting: forward, change: client, server: `
			S: * OK [CAPABILITY IMAP4rev1 ID] ready
			C~ I1 ID \(` + own + ` "name" "Mail" "os" NIL\)
			S: I1 OK
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "refused: without them", setting: forward, change: client, server: `
			S: * OK [CAPABILITY IMAP4rev1 ID] ready
			C~ I1 ID .* "name" "Mail" "os" NIL\)
			S: I1 BAD too many
			C~ I2 ID \(` + own + `\)
			S: I2 OK
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "left out", setting: forward, change: func(m *mailhost.Conn) { client(m); m.LeaveOut = true },
			server: `
			S: * OK [CAPABILITY IMAP4rev1 ID] ready
			C~ I1 ID \(` + own + `\)
			S: I1 OK
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
		{name: "hangs up on ours", setting: forward,
			change: func(m *mailhost.Conn) { client(m); m.LeaveOut = true }, server: `
			S: * OK [CAPABILITY IMAP4rev1 ID] ready
			C~ I1 ID .*`, step: "forward", cause: "PROXY_FORWARD_CLIENT=ID"},
		{name: "not asked for", change: client, server: `
			S: * OK [CAPABILITY IMAP4rev1 ID] ready
			C: a1 LOGIN "ann@example.com" "sec ret"
			S: a1 OK fine`},
	})
}

// A mailhost that hangs up on ID is tried once more with the proxy's own fields only, and never without them.
func TestHangsUpOnID(t *testing.T) {
	for _, c := range []struct{ name, second, answer, log string }{
		{"the client's", "S: I1 OK\nC: a LOGIN \"bob\" \"geheim\"\nS: a OK in\nC-\nS-",
			"S: a OK connected to proxy server.\nC-\nS-",
			"WARN: 192.0.2.99 hung up on the client's fields of ID"},
		{"ours", "S-", "S: a NO [UNAVAILABLE] Temporary problem, please try again later\nC-\nS-",
			"PROXY_FORWARD_CLIENT=ID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var visits atomic.Int32
			first := fronttest.Mailhost(t, `
				S: * OK [CAPABILITY IMAP4rev1 ID] hi
				C~ I1 ID .*"name" "x"\)
				S-`)
			second := fronttest.Mailhost(t, `
				S: * OK [CAPABILITY IMAP4rev1 ID] hi
				C~ I1 ID \("x-originating-ip" .* "x-proxy-ttl" "4"\)
				`+c.second)
			s := front().Begin(t, fronttest.Options{
				Settings: map[string]string{"PROXY_FORWARD_CLIENT": "ID", "IMAP_ID_FIELDS": ""},
				Mailhost: func(conn *net.UnixConn) {
					if visits.Add(1) == 1 {
						first(conn)
						return
					}
					second(conn)
				}})
			transcript.Play(t, s.Conn, "S* .*\nC: i ID (\"name\" \"x\")\nS* i OK .*\nC: a LOGIN bob geheim\n"+c.answer)
			s.Wait(t)
			if visits.Load() != 2 || !strings.Contains(s.Log.String(), c.log) {
				t.Errorf("%d visits\n%swant %q in the log", visits.Load(), s.Log, c.log)
			}
		})
	}
}
