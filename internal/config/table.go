package config

import (
	"slices"
	"strings"
	"time"

	"mailproxy/internal/haproxy"
	"mailproxy/internal/hostlist"
)

// Status is what becomes of a setting.
type Status int

// The ways.
const (
	Used     Status = iota // a field of Config, or part of one
	Launcher               // what the launcher says about one connection; package launch reads it
	Ignored                // it means nothing to the front ends, see Setting.Why
	Passed                 // it is for the start script or the local server, which gets the whole environment
)

// Setting is one entry of the table.
type Setting struct {
	Name string
	// Default is what counts when the setting is not set, as it would be written; empty = nothing, or see the
	// manual page.
	Default string
	// For is the front end that reads it; empty = both.
	For    Protocol
	Status Status
	// Why says why it is ignored.
	Why string

	// blanks: blanks around the value are a part of it.
	blanks bool
	// evenEmpty: set to nothing is not the same as not set.
	evenEmpty bool
	set       func(c *Config, text string) error
}

// only is the same setting for one protocol.
func (s Setting) only(p Protocol) Setting {
	s.For = p
	return s
}

// ignored is the same setting, of which nothing is made.
func (s Setting) ignored(why string) Setting {
	s.Status, s.Why = Ignored, why
	return s
}

// isSet says whether the setting has a value of its own.
func (s *Setting) isSet(raw Raw) bool {
	value, ok := raw[s.Name]
	isEmpty := value.Text == "" || !s.blanks && strings.TrimSpace(value.Text) == ""
	return ok && (!isEmpty || s.evenEmpty)
}

// even is the same setting, for which set to nothing counts.
func (s Setting) even() Setting {
	s.evenEmpty = true
	return s
}

// All returns the table: every setting that a front end reads, and those of Courier's files that it does not.
func All() []Setting { return slices.Concat(parsed(), launcher(), ignored(), passed()) }

// parsed is the part of the table that has a place in Config.
func parsed() []Setting { return slices.Concat(dialogue(), accounts(), mailhosts(), connection()) }

// Find returns the setting of that name. AUTHSERVICE with any port is AUTHSERVICE143.
func Find(name string) (Setting, bool) {
	if _, ok := authServicePort(name); ok {
		name = authService + "143"
	}
	for _, s := range All() {
		if s.Name == name {
			return s, true
		}
	}
	return Setting{}, false
}

const authService = "AUTHSERVICE"

// authServicePort returns the port of AUTHSERVICE143 and the like.
func authServicePort(name string) (port string, ok bool) {
	port, ok = strings.CutPrefix(name, authService)
	return port, ok && port != "" && strings.Trim(port, "0123456789") == ""
}

// authServices are the settings of that kind that are set.
func authServices(raw Raw) (list []Setting) {
	for name := range raw {
		if port, ok := authServicePort(name); ok {
			list = append(list, Setting{Name: name, blanks: true, set: func(c *Config, text string) error {
				c.AuthServices[port] = text
				return nil
			}})
		}
	}
	slices.SortFunc(list, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// dialogue: the dialogue before login.
func dialogue() []Setting {
	return []Setting{
		text("IMAP_CAPABILITY", "IMAP4rev1", func(c *Config) *string { return &c.IMAP.Capability }).only(IMAP),
		text("IMAP_CAPABILITY_TLS", "", func(c *Config) *string { return &c.IMAP.CapabilityTLS }).only(IMAP),
		switchOf("IMAP_ACL", "0", func(c *Config) *bool { return &c.IMAP.ACL }).only(IMAP),
		{Name: "IMAP_ID_FIELDS", For: IMAP, evenEmpty: true, set: setID},
		text("OUTBOX", "", func(c *Config) *string { return &c.IMAP.Outbox }).only(IMAP),
		switchOf("IMAP_MOVE_EXPUNGE_TO_TRASH", "0", func(c *Config) *bool { return &c.IMAP.Trash }).only(IMAP),
		Setting{Name: "IMAP_UTF8", set: setUTF8}.only(IMAP),
		Setting{Name: "POP3_UTF8", set: setUTF8}.only(POP3),
		text("POP3AUTH", "", func(c *Config) *string { return &c.POP3.Auth }).only(POP3),
		text("POP3AUTH_TLS", "", func(c *Config) *string { return &c.POP3.AuthTLS }).only(POP3),
		seconds("LOGIN_TIMEOUT", "60", 1, func(c *Config) *time.Duration { return &c.LoginTimeout }),
		number("LOGIN_MAX_COMMANDS", "100", 1, 1_000_000, func(c *Config) *int { return &c.MaxCommands }),
		number("HOLD_MAX", "200", 0, 1_000_000, func(c *Config) *int { return &c.MaxHeld }),
		seconds("LOGIN_FAIL_DELAY", "5", 0, func(c *Config) *time.Duration { return &c.FailDelay }),
		text("THROTTLE_FILE", "", func(c *Config) *string { return &c.ThrottleFile }),
		seconds("LOGIN_FAIL_DELAY_MAX", "30", 0, func(c *Config) *time.Duration { return &c.FailDelayMax }),
		number("MAXUNAUTHPERIP", "0", 0, mostConnections, func(c *Config) *int { return &c.MaxUnauthPerIP }),
		number("MAXUNAUTH", "10000", 1, mostConnections, func(c *Config) *int { return &c.Limits.Unauth }),
		number("MAXHANDSHAKES", "", 1, 1024, func(c *Config) *int { return &c.Limits.Handshakes }),
		number("MAXSESSIONS", "0", 0, mostConnections, func(c *Config) *int { return &c.Limits.Sessions }),
		number("MAXSESSIONSPERIP", "0", 0, mostConnections,
			func(c *Config) *int { return &c.Limits.SessionsPerIP }),
		number("MAXSESSIONSPERUSER", "0", 0, mostConnections,
			func(c *Config) *int { return &c.Limits.SessionsPerUser }),
	}
}

// mostConnections is more than a process can have.
const mostConnections = 10_000_000

// setID reads IMAP_ID_FIELDS, which offers ID also when it is set to nothing.
func setID(c *Config, text string) error {
	c.IMAP.ID = true
	if strings.TrimSpace(text) == "" {
		return nil
	}
	const all = 1<<16 - 1 // Courier has more bits than are answered here
	return number("", "", 0, all, func(c *Config) *int { return &c.IMAP.IDFields }).set(c, text)
}

// accounts: names and the auth module. This package does not see authlib and relay, which have some of the
// defaults as well: TestDefaults compares them.
func accounts() []Setting {
	return []Setting{
		text("DEFDOMAIN", "", func(c *Config) *string { return &c.DefDomain }),
		text("DOMAINSEP", "", func(c *Config) *string { return &c.DomainSep }),
		switchOf("LOGIN_LOWERCASE", "0", func(c *Config) *bool { return &c.LowerCase }),
		{Name: authService + "143"}, // and of any other port, see parse
		text("AUTHDAEMON_SOCKET", "/run/courier/authdaemon/socket",
			func(c *Config) *string { return &c.AuthSocket }),
		users("AUTHDAEMON_USER", "", func(c *Config) *[]string { return &c.AuthUsers }),
		text("AUTHDAEMON_PROGRAM", "", func(c *Config) *string { return &c.AuthProgram }),
		text("AUTHDAEMON_CONFIG", "", func(c *Config) *string { return &c.AuthDirectory }),
		seconds("TIMEOUT_SOCK", "10", 1, func(c *Config) *time.Duration { return &c.AuthConnect }),
		seconds("TIMEOUT_WRITE", "10", 1, func(c *Config) *time.Duration { return &c.AuthWrite }),
		seconds("TIMEOUT_READ", "30", 1, func(c *Config) *time.Duration { return &c.AuthRead }),
		trimmed("SCRAM_SECRET_FILE", "", func(c *Config) *string { return &c.SCRAMSecretFile }),
		number("SCRAM_ITERATIONS", "10000", 4096, 1_000_000, func(c *Config) *int { return &c.SCRAMIterations }),
		{Name: "DEBUG_LOGIN", Default: "0", set: setDebug},
	}
}

// mailhosts: where accounts are, here or there.
func mailhosts() []Setting {
	return []Setting{
		switchOf("IMAP_PROXY", "0", func(c *Config) *bool { return &c.Proxy }).only(IMAP),
		switchOf("POP3_PROXY", "0", func(c *Config) *bool { return &c.Proxy }).only(POP3),
		text("PROXY_HOSTNAME", "", func(c *Config) *string { return &c.Hostname }),
		{Name: "PROXY_LOCAL", set: setLocal},
		{Name: "PROXY_MAILHOSTS", set: func(c *Config, text string) (err error) {
			c.Mailhosts, err = hostlist.Parse(text)
			return err
		}},
		choice("IMAP_PROXY_FOREIGN", ForeignHidden, func(c *Config) *Foreign { return &c.IMAP.Foreign },
			ForeignHidden, ForeignAnswer, ForeignCode).only(IMAP),
		seconds("PROXY_CONNECT_TIMEOUT", "30", 1, func(c *Config) *time.Duration { return &c.ConnectTimeout }),
		seconds("PROXY_LOGIN_TIMEOUT", "30", 1, func(c *Config) *time.Duration { return &c.MailhostTimeout }),
		number("PROXY_MAILHOST_LOGINS", "100", 1, 1_000_000, func(c *Config) *int { return &c.MailhostLogins }),
		seconds("PROXY_MAILHOST_RETRY", "10", 1, func(c *Config) *time.Duration { return &c.MailhostRetry }),
		seconds("PROXY_KEEPALIVE", "300", 0, func(c *Config) *time.Duration { return &c.Keepalive }),
		seconds("PROXY_HALFCLOSE_TIMEOUT", "300", 1, func(c *Config) *time.Duration { return &c.HalfClosed }),
		choice("PROXY_TLS", ModeClear, func(c *Config) *Mode { return &c.Mailhost.Mode },
			ModeClear, ModeStartTLS, ModeTLS),
		choice("PROXY_TLS_VERIFYPEER", VerifyPeer, func(c *Config) *Verify { return &c.Mailhost.Verify },
			VerifyNone, VerifyPeer, VerifyRequire),
		trimmed("PROXY_TLS_TRUSTCERTS", "", func(c *Config) *string { return &c.Mailhost.TrustCerts }),
		choice("PROXY_VERIFY", VerifierAuthlib, func(c *Config) *Verifier { return &c.Verifier },
			VerifierAuthlib, VerifierMailhost),
		text("PROXY_MASTER_USER", "", func(c *Config) *string { return &c.MasterUser }),
		text("PROXY_MASTER_PASSWORD_FILE", "", func(c *Config) *string { return &c.MasterFile }),
		choice("PROXY_FORWARD_CLIENT", ForwardNone, func(c *Config) *Forward { return &c.Forward },
			ForwardNone, ForwardID, ForwardXCLIENT, ForwardPROXY1, ForwardPROXY2),
		text("PROXY_USER", "", func(c *Config) *string { return &c.RelayUser }),
		text("RELAY_SOCKET", "/run/mailproxy/relayd/socket",
			func(c *Config) *string { return &c.RelaySocket }).even(),
		users("RELAY_USER", "mailproxy", func(c *Config) *[]string { return &c.RelaydUsers }),
		text("AUTH_MKHOMEDIR_SKEL", "", func(c *Config) *string { return &c.Skeleton }),
		{Name: "LOCAL_ULIMIT_V", Default: "unlimited", set: setAddressSpace},
		octal("IMAP_UMASK", func(c *Config) *int { return &c.Umask }).only(IMAP),
		octal("POP3_UMASK", func(c *Config) *int { return &c.Umask }).only(POP3),
	}
}

// connection: the client's connection.
func connection() []Setting {
	list := []Setting{
		switchOf("HAPROXY", "0", func(c *Config) *bool { return &c.haproxy }),
		{Name: "HAPROXY_ALLOW", Default: haproxy.DefaultSources, set: setBalancers},
		// The file's own name, which Courier's start script changes into the next one, counts for less.
		switchOf("IMAPDSTARTTLS", "NO", func(c *Config) *bool { return &c.StartTLS }).only(IMAP),
	}
	for _, p := range []Protocol{IMAP, POP3} {
		list = append(list,
			switchOf(p.startTLS(), "NO", func(c *Config) *bool { return &c.StartTLS }).only(p),
			switchOf(p.tls(), "0", func(c *Config) *bool { return &c.Encrypted }).only(p),
			switchOf(p.tlsRequired(), "0", func(c *Config) *bool { return &c.TLSRequired }).only(p))
	}
	return append(list,
		trimmed("TLS_CERTFILE", "", func(c *Config) *string { return &c.TLS.CertFile }),
		trimmed("TLS_PRIVATE_KEYFILE", "", func(c *Config) *string { return &c.TLS.KeyFile }),
		version("TLS_PROTOCOL", func(c *Config) *uint16 { return &c.TLS.Protocol }),
		version("TLS_STARTTLS_PROTOCOL", func(c *Config) *uint16 { return &c.TLS.StartTLSProtocol }),
		Setting{Name: "TLS_CIPHER_LIST", set: setCiphers},
		choice("TLS_VERIFYPEER", VerifyNone, func(c *Config) *Verify { return &c.TLS.Verify },
			VerifyNone, VerifyPeer, VerifyRequire),
		trimmed("TLS_TRUSTCERTS", "", func(c *Config) *string { return &c.TLS.TrustCerts }),
		trimmed("TLS_EXTERNAL", "", func(c *Config) *string { return &c.TLS.External }),
		words("TLS_ALPN", func(c *Config) *[]string { return &c.TLS.ALPN }),
		trimmed("TLS_CACHEFILE", "", func(c *Config) *string { return &c.TLS.CacheFile }),
		seconds("TLS_HANDSHAKE_TIMEOUT", "30", 1, func(c *Config) *time.Duration { return &c.TLS.Handshake }),
		// Only a warning in the log is made of it.
		trimmed("TLS_PRIORITY", "", func(c *Config) *string { return &c.TLS.Priority }).
			ignored("it is GnuTLS's; TLS_CIPHER_LIST takes OpenSSL's names"))
}

// launcher: what launchers say about the connection.
func launcher() (list []Setting) {
	for _, name := range []string{
		"TCPREMOTEIP", "TCPREMOTEPORT", "TCPLOCALIP", "TCPLOCALPORT", // couriertcpd, tcpserver, tcpsvd
		"REMOTE_ADDR", "REMOTE_PORT", // systemd, xinetd
	} {
		list = append(list, Setting{Name: name, Status: Launcher})
	}
	return list
}
