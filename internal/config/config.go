// Package config holds every setting of the front ends once: its name, kind, default and unit are one entry
// of a table, from which come the reading of settings (Load), what "check" knows of them, and the tests of
// the manual page and of the sample files in etc/.
//
// Settings are read from the environment, where Courier's start scripts put them, and from files in Courier's
// form. A value that is not understood is an error, never "off"; one error names all of them, with file and
// line. Settings do not change after they are loaded: facts of a connection (the client, whether TLS is on)
// are not among them.
//
// It deliberately knows nothing of relayd's and authdaemond's own files.
package config

import (
	"maps"
	"net/netip"
	"time"

	"mailproxy/internal/haproxy"
	"mailproxy/internal/hostlist"
)

// Protocol is what a front end speaks. Many settings begin with it.
type Protocol string

// The protocols.
const (
	IMAP Protocol = "IMAP"
	POP3 Protocol = "POP3"
)

// Settings that each protocol has under its own name, and that the local server is told as well.
func (p Protocol) startTLS() string    { return string(p) + "_STARTTLS" }
func (p Protocol) tls() string         { return string(p) + "_TLS" }
func (p Protocol) tlsRequired() string { return string(p) + "_TLS_REQUIRED" }

// Config is the settings of one front end. It is made once, by Load, and never changed afterwards.
type Config struct {
	// protocol is whose settings these are: IMAP_PROXY or POP3_PROXY is Proxy.
	protocol Protocol

	// LoginTimeout (LOGIN_TIMEOUT, 60 s) is the time a client has from connecting to having logged in.
	LoginTimeout time.Duration
	// MaxCommands (LOGIN_MAX_COMMANDS, 100) is how many commands a client may say before it has logged in.
	MaxCommands int
	// MaxHeld (HOLD_MAX, 200) is how many logins of a process may wait at once for accounts that are held.
	MaxHeld int
	// FailDelay (LOGIN_FAIL_DELAY, 5 s; 0 = none): a failed login is answered at a multiple of it after the
	// credentials came.
	FailDelay time.Duration
	// ThrottleFile (THROTTLE_FILE) is the memory that all front ends share of who failed to log in; empty =
	// none. A process that serves all connections has a memory of its own instead, where this is set. With it
	// a failed login waits FailDelay for each failure of its address or name, at most FailDelayMax
	// (LOGIN_FAIL_DELAY_MAX, 30 s), and an address may have MaxUnauthPerIP (MAXUNAUTHPERIP; 0 = any number)
	// connections that have not logged in. See PerConnection.
	ThrottleFile   string
	FailDelayMax   time.Duration
	MaxUnauthPerIP int
	// Limits are those of a process that serves all connections.
	Limits Limits

	// DefDomain (DEFDOMAIN) is appended to a login without any of the characters in DomainSep (DOMAINSEP, by
	// default the first character of DefDomain); empty = nothing is appended.
	DefDomain, DomainSep string
	// LowerCase (LOGIN_LOWERCASE) asks the auth module for login names in lower case, whatever was typed.
	LowerCase bool
	// AuthServices (AUTHSERVICE143 and the like) are the services that the auth module is asked for, by the
	// port that the client connected to, where they are not the protocol's own.
	AuthServices map[string]string
	// AuthSocket (AUTHDAEMON_SOCKET) is where the auth module listens, AuthProgram (AUTHDAEMON_PROGRAM) what
	// is started for one request when nobody does; empty = the program beside ours, if it is there.
	AuthSocket, AuthProgram string
	// AuthUsers (AUTHDAEMON_USER) may listen on AuthSocket besides root; empty = the package's user, and
	// Courier's where the socket is Courier's. Others that could would be told passwords.
	AuthUsers []string
	// AuthDirectory (AUTHDAEMON_CONFIG) is the directory where that program finds authdaemonrc and the
	// databases' files; empty = its own default.
	AuthDirectory string
	// AuthConnect, AuthWrite and AuthRead (TIMEOUT_SOCK 10 s, TIMEOUT_WRITE 10 s, TIMEOUT_READ 30 s) are
	// towards it.
	AuthConnect, AuthWrite, AuthRead time.Duration
	// SCRAMSecretFile (SCRAM_SECRET_FILE) holds, in its first line, what the SCRAM salts of names without
	// stored keys are made with; empty = the machine's id. SCRAMIterations (SCRAM_ITERATIONS, 10000) is their
	// number of iterations.
	SCRAMSecretFile string
	SCRAMIterations int
	// Debug (DEBUG_LOGIN; 0 = no) writes the steps of a login to the log. Passwords are never written, whatever
	// its value: 2 has Courier's auth daemon write them.
	Debug int

	// Proxy (IMAP_PROXY, POP3_PROXY) says that accounts may live elsewhere.
	Proxy bool
	// UTF8 (IMAP_UTF8, POP3_UTF8; by default on where Proxy is off) offers ENABLE UTF8=ACCEPT, or UTF8,
	// before the login.
	UTF8 bool
	// Hostname (PROXY_HOSTNAME) is a name that this host is known by as a mailhost, besides its own.
	Hostname string
	// Local (PROXY_LOCAL) is where a resident program sends accounts that are here: a listener on this machine
	// that serves one connection a process and reads PROXY headers. The zero value: they are refused.
	Local Place
	// Mailhosts (PROXY_MAILHOSTS) are where accounts may be sent; empty = anywhere.
	Mailhosts hostlist.List
	// ConnectTimeout (PROXY_CONNECT_TIMEOUT, 30 s) is for finding a mailhost's addresses, and for connecting
	// to each of them.
	ConnectTimeout time.Duration
	// MailhostTimeout (PROXY_LOGIN_TIMEOUT, 30 s) is for the dialogue with a mailhost, from its greeting to
	// its answer.
	MailhostTimeout time.Duration
	// MailhostLogins (PROXY_MAILHOST_LOGINS, 100) is how many logins a resident program has under way at one
	// address of a mailhost, and MailhostRetry (PROXY_MAILHOST_RETRY, 10 s) how often it tries one that is down.
	MailhostLogins int
	MailhostRetry  time.Duration
	// Mailhost is how connections to mailhosts are encrypted.
	Mailhost MailhostTLS
	// Verifier (PROXY_VERIFY) is who checks passwords, where the account's option verify does not say it.
	Verifier Verifier
	// MasterUser (PROXY_MASTER_USER) logs in at mailhosts on behalf of the accounts, with the first line of
	// MasterFile (PROXY_MASTER_PASSWORD_FILE). Empty = each account logs in with its own password. Both or
	// none are set.
	MasterUser, MasterFile string
	// Forward (PROXY_FORWARD_CLIENT) is how the mailhost is told who the client is.
	Forward Forward

	// RelaySocket (RELAY_SOCKET) is where relayd listens. Empty, or nobody there: this process relays.
	RelaySocket string
	// RelaydUsers (RELAY_USER, mailproxy) may listen on RelaySocket besides root.
	RelaydUsers []string
	// RelayUser (PROXY_USER) is the user that a proxied session runs as; empty = the first of the usual ones
	// that exists.
	RelayUser string
	// Keepalive (PROXY_KEEPALIVE, 300 s; 0 = off) is the TCP keepalive time of both sides of a relayed
	// session.
	Keepalive time.Duration
	// HalfClosed (PROXY_HALFCLOSE_TIMEOUT, 300 s) is how long a relayed session may go on without a byte
	// moved after one side has ended.
	HalfClosed time.Duration

	// Skeleton (AUTH_MKHOMEDIR_SKEL) is the directory that the missing home of a local account is made from;
	// empty = a missing home is an error.
	Skeleton string
	// AddressSpace (LOCAL_ULIMIT_V, KiB as for ulimit -v) limits the local server's address space; 0 = as we
	// are.
	AddressSpace int
	// Umask (IMAP_UMASK, POP3_UMASK) is the local server's file mode creation mask; negative = as we are.
	Umask int

	// Balancers (HAPROXY_ALLOW, where HAPROXY is on) are who may say in a PROXY header who the client is, and
	// that it is encrypted; nil = nobody. Those who can send from these addresses can pretend to be any client.
	Balancers *haproxy.Sources
	// Encrypted (IMAP_TLS, POP3_TLS) says that connections are encrypted from the first byte, by us unless
	// somebody in front of us does it.
	Encrypted bool
	// StartTLS (IMAP_STARTTLS or IMAPDSTARTTLS, POP3_STARTTLS) offers STARTTLS or STLS, if a certificate
	// loads.
	StartTLS bool
	// TLSRequired (IMAP_TLS_REQUIRED, POP3_TLS_REQUIRED) refuses logins on connections that are not
	// encrypted.
	TLSRequired bool
	// TLS is about handshakes with clients.
	TLS TLS

	// IMAP and POP3 are for the dialogue of that name.
	IMAP IMAPDialogue
	POP3 POP3Dialogue

	raw     Raw
	haproxy bool // HAPROXY
	utf8Set bool // IMAP_UTF8, POP3_UTF8
}

// Place is a listener on this machine: a unix socket, or an address of the loopback interface.
type Place struct {
	Path string
	Addr netip.AddrPort // where Path is empty
}

// IsSet says whether there is such a listener.
func (p Place) IsSet() bool { return p.Path != "" || p.Addr.IsValid() }

func (p Place) String() string {
	if p.Path != "" {
		return p.Path
	}
	return p.Addr.String()
}

// Environ is the environment and the files in one, as an environment for another program, sorted by name.
func (c *Config) Environ() []string { return c.raw.environ() }

// OverTLS is the same for connections that are encrypted from the first byte.
func (c *Config) OverTLS() *Config {
	over := *c
	over.Encrypted, over.StartTLS = true, false
	return &over
}

// IsSet says whether a setting has a value, which counts in place of its default.
func (c *Config) IsSet(name string) bool {
	s, ok := Find(name)
	return ok && s.isSet(c.raw)
}

// Raw is a copy of the environment and the files in one.
func (c *Config) Raw() Raw { return maps.Clone(c.raw) }

// Limits are those of a process that serves all connections.
type Limits struct {
	// Unauth (MAXUNAUTH, 10000) is how many connections may be there that have not logged in.
	Unauth int
	// Handshakes (MAXHANDSHAKES) is how many TLS handshakes with clients are computed at a time; 0 = as many as
	// there are processors.
	Handshakes int
	// Sessions (MAXSESSIONS), SessionsPerIP (MAXSESSIONSPERIP) and SessionsPerUser (MAXSESSIONSPERUSER) are
	// how many sessions the process itself carries, in all, of one address (an IPv6 /64 is one) and of one
	// user; 0 = any number. Those that relayd carries are its own to limit.
	Sessions, SessionsPerIP, SessionsPerUser int
}

// TLS is how connections with clients are encrypted.
type TLS struct {
	// CertFile (TLS_CERTFILE) holds certificate and chain in PEM, KeyFile (TLS_PRIVATE_KEYFILE) the private
	// key; empty: it is in CertFile, too. Each may name several files, with blanks between them, and a file
	// may hold several certificates. CertFile.NAME and CertFile.ADDRESS beside it are for one server name or
	// local address.
	CertFile, KeyFile string
	// Protocol (TLS_PROTOCOL) is the lowest version, as crypto/tls has it, and StartTLSProtocol
	// (TLS_STARTTLS_PROTOCOL) the same after STARTTLS; 0 = Protocol, and TLS 1.2.
	Protocol, StartTLSProtocol uint16
	// Ciphers are TLS_CIPHER_LIST.
	Ciphers Ciphers
	// Priority (TLS_PRIORITY) is in GnuTLS's language. It is not understood, only warned about.
	Priority string
	// Verify (TLS_VERIFYPEER) is whether clients are asked for a certificate, and TrustCerts (TLS_TRUSTCERTS)
	// the file or directory of the certificates that may sign it.
	Verify     Verify
	TrustCerts string
	// External (TLS_EXTERNAL) is the field of the certificate's subject that names the user for SASL
	// EXTERNAL, in any case; empty = EXTERNAL is not offered.
	External string
	// ALPN (TLS_ALPN) are the application protocols that are agreed to (RFC 7301).
	ALPN []string
	// CacheFile (TLS_CACHEFILE) with ".keys" after it is the file of the session tickets' keys, which
	// decrypt recorded connections of TLS 1.2; empty = sessions are not resumed.
	CacheFile string
	// Handshake (TLS_HANDSHAKE_TIMEOUT, 30 s) is the time for a handshake with a client, within LoginTimeout.
	Handshake time.Duration
}

// Ciphers are the suites of a list in OpenSSL's language, as crypto/tls has them, and the words that are not
// understood. No IDs: crypto/tls's own choice.
type Ciphers struct {
	IDs     []uint16
	Unknown []string
}

// MailhostTLS is how connections with mailhosts are encrypted.
type MailhostTLS struct {
	// Mode (PROXY_TLS) is whether they are.
	Mode Mode
	// Verify (PROXY_TLS_VERIFYPEER) is VerifyNone when any certificate will do: an attacker in between can
	// then read passwords. Anything else asks for one of the mailhost's name.
	Verify Verify
	// TrustCerts (PROXY_TLS_TRUSTCERTS) is a file or directory of the certificates that may sign it; empty =
	// the system's.
	TrustCerts string
}

// Mode is when TLS begins on a connection to a mailhost.
type Mode string

// The modes. No setting is ModeClear.
const (
	ModeClear    Mode = "NO"
	ModeStartTLS Mode = "STARTTLS" // STARTTLS or STLS on the clear-text port
	ModeTLS      Mode = "YES"      // from the first byte, on port 993 or 995
)

// ParseMode reads an account's option mailhosttls as PROXY_TLS is read.
func ParseMode(text string) (Mode, error) {
	return parseChoice(text, ModeClear, ModeStartTLS, ModeTLS)
}

// Verifier is who checks the password of an account.
type Verifier string

// The verifiers. No setting is VerifierAuthlib.
const (
	VerifierAuthlib  Verifier = "AUTHLIB"  // the account database
	VerifierMailhost Verifier = "MAILHOST" // the mailhost; the account database only says which one it is
)

// ParseVerifier reads an account's option verify as PROXY_VERIFY is read.
func ParseVerifier(text string) (Verifier, error) {
	return parseChoice(text, VerifierAuthlib, VerifierMailhost)
}

// Verify is what is asked of the other side's certificate.
type Verify string

// The levels. VerifyRequire is the same as VerifyPeer for a mailhost, which always has a certificate.
const (
	VerifyNone    Verify = "NONE"
	VerifyPeer    Verify = "PEER"        // a certificate that is shown must be good
	VerifyRequire Verify = "REQUIREPEER" // there must be one
)

// Forward is a way to tell a mailhost who the client is.
type Forward string

// The ways. No setting is ForwardNone.
const (
	ForwardNone    Forward = "NO"
	ForwardID      Forward = "ID"      // IMAP's ID command; in POP3 as ForwardXCLIENT
	ForwardXCLIENT Forward = "XCLIENT" // POP3's XCLIENT command
	ForwardPROXY1  Forward = "PROXY1"  // a PROXY protocol header, version 1
	ForwardPROXY2  Forward = "PROXY2"  // version 2
)

// IMAPDialogue is for the IMAP dialogue.
type IMAPDialogue struct {
	// Capability (IMAP_CAPABILITY, IMAP4rev1) is the beginning of the capability list, CapabilityTLS
	// (IMAP_CAPABILITY_TLS) the same on encrypted connections; empty = Capability.
	Capability, CapabilityTLS string
	// ACL (IMAP_ACL) adds ACL ACL2=UNION to it, Trash (IMAP_MOVE_EXPUNGE_TO_TRASH) XMAGICTRASH.
	ACL, Trash bool
	// Outbox (OUTBOX) adds XCOURIEROUTBOX=INBOX and this; empty = it does not.
	Outbox string
	// ID says that IMAP_ID_FIELDS is set, even to nothing: the command ID is offered. IDFields is its value,
	// the sum of 1 (our version is told) and 2 (the operating system is).
	ID       bool
	IDFields int
	// Foreign (IMAP_PROXY_FOREIGN) is how a client learns what the mailhost can do.
	Foreign Foreign
}

// Foreign is how a client learns what the mailhost can do after the login, which may differ from what was
// advertised before it.
type Foreign string

// The ways. No setting is ForeignHidden.
const (
	ForeignHidden Foreign = "0"
	// ForeignAnswer passes the mailhost's answer to CAPABILITY on, as the answer to the login, as Courier
	// does.
	ForeignAnswer Foreign = "1"
	// ForeignCode has our own tagged OK carry the mailhost's list as its code (RFC 3501 section 7.1).
	ForeignCode Foreign = "2"
)

// POP3Dialogue is for the POP3 dialogue.
type POP3Dialogue struct {
	// Auth (POP3AUTH) are the SASL mechanisms that CAPA lists, AuthTLS (POP3AUTH_TLS) the same on encrypted
	// connections; empty = Auth.
	Auth, AuthTLS string
}
