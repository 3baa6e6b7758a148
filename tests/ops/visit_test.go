package ops

import (
	"crypto/tls"
	"net"
	"testing"

	"mailproxy/tests/harness"
	"mailproxy/tests/transcript"
)

// A visit is a session on the machine.
type visit struct {
	*transcript.Runner
	port string
	here bool
}

// connect connects to a port of the machine.
func (m *machine) connect(t *testing.T, port string) *visit {
	t.Helper()
	var conn net.Conn = harness.Connect(t, inside+":"+port)
	if port == "993" || port == "995" {
		conn = overTLS(conn)
	}
	return &visit{Runner: &transcript.Runner{Conn: conn}, port: port}
}

func overTLS(conn net.Conn) net.Conn { return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) }

// visit connects to a port of the machine and logs in.
func (m *machine) visit(t *testing.T, port, user string) *visit {
	t.Helper()
	v := m.connect(t, port)
	v.here = user == "joe"
	if v.imap() {
		v.MustPlay(t, "S* \\* OK .*\nC: a LOGIN "+user+" secret\nS* a OK .*\n")
	} else {
		v.MustPlay(t, "S* \\+OK .*\nC: USER "+user+"\nS* \\+OK .*\nC: PASS secret\nS* \\+OK.*\n")
	}
	return v
}

// visitStartTLS connects to port 143, begins TLS and logs in.
func (m *machine) visitStartTLS(t *testing.T) *visit {
	t.Helper()
	v := m.connect(t, "143")
	v.MustPlay(t, "S* \\* OK .*\nC: a STARTTLS\nS* a OK .*\n")
	upgraded := &visit{Runner: &transcript.Runner{Conn: overTLS(v.Conn)}, port: v.port}
	upgraded.MustPlay(t, "C: a LOGIN ann@example.com secret\nS* a OK .*\n")
	return upgraded
}

func (v *visit) imap() bool { return v.port == "143" || v.port == "993" }

// alive has the other side answer.
func (v *visit) alive(t *testing.T) {
	t.Helper()
	if v.imap() {
		v.MustPlay(t, "C: n NOOP\nS* n OK.*\n")
	} else {
		v.MustPlay(t, "C: NOOP\nS* \\+OK.*\n")
	}
}

// leave logs out.
func (v *visit) leave(t *testing.T) {
	t.Helper()
	if v.imap() {
		v.MustPlay(t, "C: z LOGOUT\nS* z OK.*\n")
	} else {
		v.MustPlay(t, "C: QUIT\nS* \\+OK.*\n")
	}
	// systemd has a file descriptor of the connection as long as the unit lives, which is as long as what
	// Courier's imapd has started.
	if !v.here {
		v.MustPlay(t, "S-")
	}
	v.Conn.Close()
}

// broken says whether the other side does not answer any more.
func (v *visit) broken(t *testing.T) bool {
	t.Helper()
	script := "C: NOOP\nS* \\+OK.*\n"
	if v.imap() {
		script = "C: n NOOP\nS* n OK.*\n"
	}
	return v.Play(transcript.MustParse(t, script)[0]) != nil
}
