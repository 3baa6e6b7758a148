package frontend

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/haproxy"
	"mailproxy/internal/hostlist"
	"mailproxy/internal/inetd"
	"mailproxy/relay"
)

// Config is the settings that this package uses, read and checked once at the start.
type Config struct {
	// LoginTimeout (LOGIN_TIMEOUT, 60 s) is the time a client has from connecting to having logged in.
	LoginTimeout time.Duration
	// MaxCommands (LOGIN_MAX_COMMANDS, 100) is how many commands a client may say before it has logged in.
	MaxCommands int
	// ConnectTimeout (PROXY_CONNECT_TIMEOUT, 30 s) is for finding a mailhost's addresses, and for connecting
	// to each of them.
	ConnectTimeout time.Duration
	// MailhostTimeout (PROXY_LOGIN_TIMEOUT, 30 s) is for the dialogue with a mailhost, from its greeting to
	// its answer.
	MailhostTimeout time.Duration
	// HandshakeTimeout (TLS_HANDSHAKE_TIMEOUT, 30 s) is for a TLS handshake with a client, within
	// LoginTimeout.
	HandshakeTimeout time.Duration
	// Keepalive (PROXY_KEEPALIVE, 300 s; 0 = off) is the TCP keepalive time of both sides of a relayed
	// session.
	Keepalive time.Duration
	// HalfClosed (PROXY_HALFCLOSE_TIMEOUT, 300 s) is how long a relayed session of which one side has ended
	// may go on without a byte moved.
	HalfClosed time.Duration
	// FailDelay (LOGIN_FAIL_DELAY, 5 s): a failed login is answered at a multiple of it after the credentials
	// came.
	FailDelay time.Duration

	// AuthSocket (AUTHDAEMON_SOCKET) is where the auth daemon listens, AuthProgram (AUTHDAEMON_PROGRAM) what
	// is started for one request when nobody does; empty = the program beside ours, if it is there.
	AuthSocket, AuthProgram string
	// AuthUsers (AUTHDAEMON_USER; mailproxy-auth, and courier where the socket is Courier's) may listen on AuthSocket besides root.
	AuthUsers []string
	// AuthFolder (AUTHDAEMON_CONFIG) is where that program finds authdaemonrc and the databases' files; empty = its own default.
	AuthFolder string
	// AuthConnect, AuthWrite and AuthRead (TIMEOUT_SOCK 10 s, TIMEOUT_WRITE 10 s, TIMEOUT_READ 30 s) are
	// towards it.
	AuthConnect, AuthWrite, AuthRead time.Duration

	// RelaySocket (RELAY_SOCKET, relay.DefaultSocket) is where relayd listens. Empty, or nobody there: this
	// process relays.
	RelaySocket string
	// RelaydUsers (RELAY_USER, mailproxy) may listen on RelaySocket besides root.
	RelaydUsers []string
	// RelayUser (PROXY_USER) is the user that a proxied session runs as; empty = the first of DefaultUsers that exists.
	RelayUser string

	// DefDomain (DEFDOMAIN) is appended to a login without any of the characters in DomainSep (DOMAINSEP;
	// empty = the first of DefDomain).
	DefDomain, DomainSep string
	// Proxy (IMAP_PROXY, POP3_PROXY) says that accounts may live elsewhere.
	Proxy bool
	// Hostname (PROXY_HOSTNAME) is a name that this host is known by as a mailhost, besides its own.
	Hostname string
	// Mailhosts (PROXY_MAILHOSTS) are where accounts may be sent; empty = anywhere.
	Mailhosts hostlist.List
	// TLS (PROXY_TLS) is how connections to mailhosts are encrypted.
	TLS proxyTLS
	// MasterUser (PROXY_MASTER_USER) logs in at mailhosts on behalf of the accounts, with the first line of
	// MasterFile (PROXY_MASTER_PASSWORD_FILE). Empty = each account logs in with its own password.
	MasterUser, MasterFile string
	// Skeleton (AUTH_MKHOMEDIR_SKEL) is the folder that the missing home of a local account is made from.
	Skeleton string
	// AddressSpace (LOCAL_ULIMIT_V, KiB as for ulimit -v) limits the local server's address space; empty = as
	// we are.
	AddressSpace string
	// Umask (IMAP_UMASK, octal) is the local server's file mode creation mask; negative = as we are.
	Umask int
	// Balancers (HAPROXY_ALLOW, where HAPROXY=1) are who may say in a PROXY header who the client is; nil =
	// nobody.
	Balancers haproxy.Sources
	// ForwardClient (PROXY_FORWARD_CLIENT) is how the mailhost is told who the client is: NO, ID, XCLIENT,
	// PROXY1, PROXY2.
	ForwardClient string
	// ThrottleFile (THROTTLE_FILE) is the memory that all front ends share of who failed to log in; empty =
	// none. With it a failed login waits FailDelay for each failure of its address or name, at most
	// FailDelayMax (LOGIN_FAIL_DELAY_MAX, 30 s), and an address may have MaxUnauthPerIP (MAXUNAUTHPERIP; 0 =
	// any number) connections that have not logged in.
	ThrottleFile   string
	FailDelayMax   time.Duration
	MaxUnauthPerIP int

	// Debug (DEBUG_LOGIN) writes the steps of a login to the log. Passwords are never written, whatever its
	// value.
	Debug bool
}

// NewConfig reads the settings. The error names each setting that holds something it can not.
func NewConfig(s inetd.Settings, p *Protocol) (*Config, error) {
	var errs []error
	seconds := func(name string, def time.Duration, zero bool) time.Duration {
		d, err := s.Seconds(name, def)
		if err == nil && d == 0 && !zero {
			err = fmt.Errorf("%s=%q: must be at least 1 second", name, s.Get(name))
		}
		if err != nil {
			errs = append(errs, err)
		}
		return d
	}
	c := &Config{
		LoginTimeout:     seconds("LOGIN_TIMEOUT", 60*time.Second, false),
		ConnectTimeout:   seconds("PROXY_CONNECT_TIMEOUT", 30*time.Second, false),
		MailhostTimeout:  seconds("PROXY_LOGIN_TIMEOUT", 30*time.Second, false),
		HandshakeTimeout: seconds("TLS_HANDSHAKE_TIMEOUT", 30*time.Second, false),
		Keepalive:        seconds("PROXY_KEEPALIVE", 300*time.Second, true),
		HalfClosed:       seconds("PROXY_HALFCLOSE_TIMEOUT", relay.DefaultHalfClosed, false),
		FailDelay:        seconds("LOGIN_FAIL_DELAY", 5*time.Second, true),
		AuthSocket:       s.Get("AUTHDAEMON_SOCKET"),
		AuthProgram:      s.Get("AUTHDAEMON_PROGRAM"),
		AuthFolder:       s.Get("AUTHDAEMON_CONFIG"),
		AuthConnect:      seconds("TIMEOUT_SOCK", authlib.DefaultConnectTimeout, false),
		AuthWrite:        seconds("TIMEOUT_WRITE", authlib.DefaultWriteTimeout, false),
		AuthRead:         seconds("TIMEOUT_READ", authlib.DefaultReadTimeout, false),
		RelaySocket:      s.Get("RELAY_SOCKET"),
		RelayUser:        s.Get("PROXY_USER"),
		DefDomain:        s.Get("DEFDOMAIN"),
		DomainSep:        s.Get("DOMAINSEP"),
		Proxy:            s.Number(p.Name+"_PROXY") != 0,
		Hostname:         s.Get("PROXY_HOSTNAME"),
		MasterUser:       s.Get("PROXY_MASTER_USER"),
		MasterFile:       s.Get("PROXY_MASTER_PASSWORD_FILE"),
		Skeleton:         s.Get("AUTH_MKHOMEDIR_SKEL"),
		AddressSpace:     s.Get("LOCAL_ULIMIT_V"),
		Debug:            s.Number("DEBUG_LOGIN") != 0,
	}
	var err error
	if c.Umask, err = umask(s.Get(p.Name + "_UMASK")); err != nil {
		errs = append(errs, fmt.Errorf("%s_UMASK=%q: %w", p.Name, s.Get(p.Name+"_UMASK"), err))
	}
	if _, set := s.Lookup("RELAY_SOCKET"); !set {
		c.RelaySocket = relay.DefaultSocket
	}
	var uerr error
	if c.AuthUsers, uerr = users(s, "AUTHDAEMON_USER", authUsers(c.AuthSocket)); uerr != nil {
		errs = append(errs, uerr)
	}
	if c.RelaydUsers, uerr = users(s, "RELAY_USER", []string{relay.DefaultUser}); uerr != nil {
		errs = append(errs, uerr)
	}
	if c.AddressSpace == "unlimited" {
		c.AddressSpace = ""
	}
	if strings.Trim(c.AddressSpace, "0123456789") != "" {
		errs = append(errs, fmt.Errorf("LOCAL_ULIMIT_V=%q: must be a number of KiB or unlimited", c.AddressSpace))
	}
	if c.MaxCommands, err = maxCommands(s); err != nil {
		errs = append(errs, err)
	}
	if (c.MasterUser == "") != (c.MasterFile == "") {
		errs = append(errs, errors.New("PROXY_MASTER_USER and PROXY_MASTER_PASSWORD_FILE: both or none must be set"))
	}
	if c.Mailhosts, err = hostlist.Parse(s.Get("PROXY_MAILHOSTS")); err != nil {
		errs = append(errs, fmt.Errorf("PROXY_MAILHOSTS: %w", err))
	}
	if c.TLS, err = parseProxyTLS(s); err != nil {
		errs = append(errs, err)
	}
	c.FailDelayMax = seconds("LOGIN_FAIL_DELAY_MAX", 30*time.Second, true)
	errs = append(errs, c.readAddresses(s), c.readThrottle(s))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// Login returns the name that the auth module is asked for: with the default domain when it has none.
func (c *Config) login(user string) string {
	if c.DefDomain == "" {
		return user
	}
	separators := c.DomainSep
	if separators == "" {
		separators = c.DefDomain[:1]
	}
	if strings.ContainsAny(user, separators) {
		return user
	}
	return user + c.DefDomain
}
