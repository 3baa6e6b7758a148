package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// DovecotOptions says what kind of mailhost Dovecot shall be.
type DovecotOptions struct {
	Addr        string    // loopback address; IMAP on 143, POP3 on 110, and 993, 995 with CertFile
	Accounts    []Account // Name, Password, ID and Home; an empty Home gets a new one with an empty maildir
	MasterUsers []Account // may log in on behalf of others: SASL PLAIN with an authorization identity
	CertFile    string    // PEM; with it STARTTLS is offered and the TLS ports are open
	KeyFile     string
	RequireTLS  bool // plaintext logins only under TLS
	// login_trusted_networks, for example "127.0.0.0/8": whose word about the client's address counts
	Trusted string
	HAProxy bool   // ports 10143 and 10110 take a PROXY header from 127.0.0.0/8
	Extra   string // further lines of configuration
}

// DovecotServer is a running Dovecot.
type DovecotServer struct {
	*Process
	Addr  string
	Dir   string            // its directory; log lines are in Process.Log
	Homes map[string]string // home directory by account; the maildir in it is "Maildir"
}

// Dovecot starts Dovecot as a mailhost for IMAP and POP3.
func Dovecot(t testing.TB, o DovecotOptions) *DovecotServer {
	t.Helper()
	for _, part := range []string{"imap", "pop3"} {
		if _, err := os.Stat("/usr/lib/dovecot/" + part); err != nil {
			t.Fatalf("dovecot-%sd is not installed (run tests/install.sh): %v", part, err)
		}
	}
	s := &DovecotServer{Addr: o.Addr, Dir: Dir(t), Homes: map[string]string{}}
	users := ""
	for _, a := range o.Accounts {
		if a.Home == "" {
			a.Home = NewHome(t)
		}
		s.Homes[a.Name] = a.Home
		users += fmt.Sprintf("%s:{PLAIN}%s:%d:%d::%s\n", a.Name, a.Password, a.id(), a.id(), a.Home)
	}
	masters := ""
	for _, a := range o.MasterUsers {
		masters += fmt.Sprintf("%s:{PLAIN}%s\n", a.Name, a.Password)
	}
	s.write(t, "users", users)
	s.write(t, "masters", masters)
	s.write(t, "dovecot.conf", s.config(o))
	s.Process = Start(t, exec.Command("/usr/sbin/dovecot", "-F", "-c", filepath.Join(s.Dir, "dovecot.conf")))
	s.WaitListen(t, o.Addr+":143", o.Addr+":110")
	return s
}

func (s *DovecotServer) write(t testing.TB, name, text string) {
	t.Helper()
	// Dovecot's auth process drops root, so the files are readable by all; nobody else is on the island.
	WriteFile(t, filepath.Join(s.Dir, name), text, 0o644)
}

func (s *DovecotServer) config(o DovecotOptions) string {
	var c strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&c, format+"\n", args...) }
	line("base_dir = %s/run", s.Dir)
	line("state_dir = %s/state", s.Dir)
	line("log_path = /dev/stderr")
	line("instance_name = %s", filepath.Base(s.Dir))
	line("protocols = imap pop3")
	line("listen = %s", o.Addr)
	line("mail_location = maildir:~/Maildir")
	line("first_valid_uid = 1")
	line("auth_failure_delay = 0")
	line("auth_cache_size = 0")
	line("mail_max_userip_connections = 10000")
	line("default_process_limit = 2000")
	line("default_client_limit = 10000")
	line("disable_plaintext_auth = %s", yes(o.RequireTLS))
	if o.CertFile != "" {
		line("ssl = yes\nssl_cert = <%s\nssl_key = <%s", o.CertFile, o.KeyFile)
	} else {
		line("ssl = no")
	}
	if o.Trusted != "" {
		line("login_trusted_networks = %s", o.Trusted)
	}
	if len(o.MasterUsers) > 0 {
		line(
			"passdb {\n  driver = passwd-file\n  args = %s/masters\n  master = yes\n  result_success = continue\n}",
			s.Dir)
	}
	line("passdb {\n  driver = passwd-file\n  args = username_format=%%u %s/users\n}", s.Dir)
	line("userdb {\n  driver = passwd-file\n  args = username_format=%%u %s/users\n}", s.Dir)
	line("auth_username_chars =")
	for protocol, port := range map[string][2]int{"imap": {143, 993}, "pop3": {110, 995}} {
		line("service %s-login {", protocol)
		// One process serves all connections: Dovecot's high-performance mode.
		line("  service_count = 0\n  client_limit = 8000\n  process_min_avail = 1")
		line("  inet_listener %s {\n    port = %d\n  }", protocol, port[0])
		tlsPort := 0
		if o.CertFile != "" {
			tlsPort = port[1]
		}
		line("  inet_listener %ss {\n    port = %d\n    ssl = yes\n  }", protocol, tlsPort)
		if o.HAProxy {
			line("  inet_listener %s_haproxy {\n    port = %d\n    haproxy = yes\n  }", protocol, 10000+port[0])
		}
		line("}")
		line("service %s {\n  process_limit = 2000\n  vsz_limit = 0\n}", protocol)
	}
	if o.HAProxy {
		line("haproxy_trusted_networks = 127.0.0.0/8")
	}
	line("%s", o.Extra)
	return c.String()
}

func yes(on bool) string {
	if on {
		return "yes"
	}
	return "no"
}
