package config

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"mailproxy/authlib"
	"mailproxy/authlib/scram"
	"mailproxy/internal/haproxy"
	"mailproxy/internal/hostlist"
	"mailproxy/relay"
)

var update = flag.Bool("update", false, "write the golden files anew")

var same = []cmp.Option{
	cmpopts.IgnoreUnexported(Config{}), cmp.AllowUnexported(hostlist.List{}, haproxy.Sources{}),
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateComparable(netip.AddrPort{})}

// defaults is what the manual page says counts when nothing is set.
func defaults(p Protocol) Config {
	return Config{
		protocol: p, LoginTimeout: time.Minute, MaxCommands: 100,
		MaxHeld: 200, FailDelay: 5 * time.Second, FailDelayMax: 30 * time.Second,
		AuthSocket: authlib.DefaultSocket, AuthConnect: authlib.DefaultConnectTimeout,
		AuthWrite: authlib.DefaultWriteTimeout, AuthRead: authlib.DefaultReadTimeout,
		SCRAMIterations: scram.DefaultIterations,
		ConnectTimeout:  30 * time.Second, MailhostTimeout: 30 * time.Second,
		MailhostLogins: 100, MailhostRetry: 10 * time.Second,
		Mailhost: MailhostTLS{Mode: ModeClear, Verify: VerifyPeer}, Forward: ForwardNone,
		Verifier:    VerifierAuthlib,
		RelaySocket: relay.DefaultSocket, Keepalive: 5 * time.Minute, HalfClosed: relay.DefaultHalfClosed,
		UTF8: true, Umask: -1, RelaydUsers: []string{relay.DefaultUser}, Limits: Limits{Unauth: 10000},
		TLS: TLS{Verify: VerifyNone, Handshake: 30 * time.Second},
	}
}

func TestDefaults(t *testing.T) {
	for _, p := range []Protocol{IMAP, POP3} {
		want := defaults(p)
		if p == IMAP {
			want.IMAP = IMAPDialogue{Capability: "IMAP4rev1", Foreign: ForeignHidden}
		}
		// Nothing is the default, but for two settings that say something by being set.
		var empty []string
		for _, s := range All() {
			if !s.evenEmpty {
				empty = append(empty, s.Name+"=", "AUTHSERVICE25=")
			}
		}
		for name, environ := range map[string][]string{"not set": nil, "set to nothing": empty} {
			got, err := Load(nil, environ, p)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&want, got, same...); d != "" {
				t.Errorf("%s %s: want (-), got (+):\n%s", p, name, d)
			}
		}
	}
	c, err := Load(nil, []string{"RELAY_SOCKET=", "IMAP_ID_FIELDS="}, IMAP)
	if err != nil || c.RelaySocket != "" || !c.IMAP.ID || c.IMAP.IDFields != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

// Each setting reaches its field, and no other.
func TestEverySetting(t *testing.T) {
	sources, err := haproxy.ParseSources("192.0.2.1 2001:db8::/32")
	if err != nil {
		t.Fatal(err)
	}
	ownHost, err := haproxy.ParseSources(haproxy.DefaultSources)
	if err != nil {
		t.Fatal(err)
	}
	mailhosts, err := hostlist.Parse("*.example.com ::/8")
	if err != nil {
		t.Fatal(err)
	}
	ports := map[string]string{"143": "a", "2000": "b"}
	second := time.Second
	local := Place{Addr: netip.MustParseAddrPort("127.0.0.1:99")}
	tests := map[string]func(c *Config){
		"LOGIN_TIMEOUT=1":                    func(c *Config) { c.LoginTimeout = second },
		"LOGIN_MAX_COMMANDS=7":               func(c *Config) { c.MaxCommands = 7 },
		"PROXY_MAILHOSTS=*.example.com,::/8": func(c *Config) { c.Mailhosts = mailhosts },
		"PROXY_LOCAL=127.0.0.1:99":           func(c *Config) { c.Local = local },
		"PROXY_LOCAL=/run/imapd":             func(c *Config) { c.Local = Place{Path: "/run/imapd"} },
		"LOGIN_FAIL_DELAY=0":                 func(c *Config) { c.FailDelay = 0 },
		"LOGIN_FAIL_DELAY_MAX=2":             func(c *Config) { c.FailDelayMax = 2 * second },
		"THROTTLE_FILE=/t":                   func(c *Config) { c.ThrottleFile = "/t" },
		"MAXUNAUTHPERIP=40":                  func(c *Config) { c.MaxUnauthPerIP = 40 },
		"MAXUNAUTH=9":                        func(c *Config) { c.Limits.Unauth = 9 },
		"MAXHANDSHAKES=3":                    func(c *Config) { c.Limits.Handshakes = 3 },
		"MAXSESSIONS=4":                      func(c *Config) { c.Limits.Sessions = 4 },
		"MAXSESSIONSPERIP=5":                 func(c *Config) { c.Limits.SessionsPerIP = 5 },
		"MAXSESSIONSPERUSER=6":               func(c *Config) { c.Limits.SessionsPerUser = 6 },
		"DEFDOMAIN=@d":                       func(c *Config) { c.DefDomain, c.DomainSep = "@d", "@" },
		"DOMAINSEP=%@":                       func(c *Config) { c.DomainSep = "%@" },
		"LOGIN_LOWERCASE=1":                  func(c *Config) { c.LowerCase = true },
		"AUTHSERVICE143=a AUTHSERVICE2000=b": func(c *Config) { c.AuthServices = ports },
		"AUTHSERVICE=a AUTHSERVICEx=b":       func(*Config) {},
		"AUTHDAEMON_SOCKET=/s":               func(c *Config) { c.AuthSocket = "/s" },
		"AUTHDAEMON_USER=a,b":                func(c *Config) { c.AuthUsers = []string{"a", "b"} },
		"RELAY_USER=c":                       func(c *Config) { c.RelaydUsers = []string{"c"} },
		"AUTHDAEMON_PROGRAM=/p":              func(c *Config) { c.AuthProgram = "/p" },
		"AUTHDAEMON_CONFIG=/c":               func(c *Config) { c.AuthDirectory = "/c" },
		"TIMEOUT_SOCK=3":                     func(c *Config) { c.AuthConnect = 3 * second },
		"TIMEOUT_WRITE=4":                    func(c *Config) { c.AuthWrite = 4 * second },
		"TIMEOUT_READ=5":                     func(c *Config) { c.AuthRead = 5 * second },
		"DEBUG_LOGIN=2":                      func(c *Config) { c.Debug = 2 },
		"SCRAM_SECRET_FILE=/s":               func(c *Config) { c.SCRAMSecretFile = "/s" },
		"SCRAM_ITERATIONS=4096":              func(c *Config) { c.SCRAMIterations = 4096 },
		"IMAP_PROXY=on":                      func(c *Config) { c.Proxy, c.UTF8 = true, false },
		"IMAP_PROXY=on IMAP_UTF8=yes":        func(c *Config) { c.Proxy = true },
		"IMAP_UTF8=NO":                       func(c *Config) { c.UTF8 = false },
		"POP3_PROXY=maybe":                   func(*Config) {}, // nobody reads it here
		"PROXY_HOSTNAME=h":                   func(c *Config) { c.Hostname = "h" },
		"PROXY_CONNECT_TIMEOUT=6":            func(c *Config) { c.ConnectTimeout = 6 * second },
		"PROXY_MAILHOST_LOGINS=8":            func(c *Config) { c.MailhostLogins = 8 },
		"PROXY_MAILHOST_RETRY=9":             func(c *Config) { c.MailhostRetry = 9 * second },
		"PROXY_LOGIN_TIMEOUT=7":              func(c *Config) { c.MailhostTimeout = 7 * second },
		"PROXY_KEEPALIVE=0":                  func(c *Config) { c.Keepalive = 0 },
		"PROXY_HALFCLOSE_TIMEOUT=8":          func(c *Config) { c.HalfClosed = 8 * second },
		"PROXY_TLS=starttls":                 func(c *Config) { c.Mailhost.Mode = ModeStartTLS },
		"PROXY_TLS_VERIFYPEER=none":          func(c *Config) { c.Mailhost.Verify = VerifyNone },
		"PROXY_TLS_TRUSTCERTS=/ca":           func(c *Config) { c.Mailhost.TrustCerts = "/ca" },
		"PROXY_FORWARD_CLIENT=xclient":       func(c *Config) { c.Forward = ForwardXCLIENT },
		"PROXY_USER=u":                       func(c *Config) { c.RelayUser = "u" },
		"RELAY_SOCKET=/r":                    func(c *Config) { c.RelaySocket = "/r" },
		"RELAY_TLS=NO":                       func(*Config) {},
		"AUTH_MKHOMEDIR_SKEL=/k":             func(c *Config) { c.Skeleton = "/k" },
		"LOCAL_ULIMIT_V=131072":              func(c *Config) { c.AddressSpace = 131072 },
		"LOCAL_ULIMIT_V=unlimited":           func(*Config) {},
		"IMAP_UMASK=077":                     func(c *Config) { c.Umask = 0o077 },
		"POP3_UMASK=077":                     func(*Config) {},
		"HAPROXY=1":                          func(c *Config) { c.Balancers = ownHost },
		"HAPROXY_ALLOW=192.0.2.1":            func(*Config) {},
		"IMAP_STARTTLS=YES":                  func(c *Config) { c.StartTLS = true },
		"IMAPDSTARTTLS=YES":                  func(c *Config) { c.StartTLS = true },
		"IMAPDSTARTTLS=YES IMAP_STARTTLS=NO": func(*Config) {},
		"IMAPDSTARTTLS=NO IMAP_STARTTLS=yes": func(c *Config) { c.StartTLS = true },
		"POP3_STARTTLS=YES":                  func(*Config) {},
		"IMAP_TLS=1":                         func(c *Config) { c.Encrypted = true },
		"IMAP_TLS_REQUIRED=YES":              func(c *Config) { c.TLSRequired = true },
		"TLS_CERTFILE=/c":                    func(c *Config) { c.TLS.CertFile = "/c" },
		"TLS_PRIVATE_KEYFILE=/k":             func(c *Config) { c.TLS.KeyFile = "/k" },
		"TLS_PROTOCOL=TLSv1.2":               func(c *Config) { c.TLS.Protocol = tls.VersionTLS12 },
		"TLS_STARTTLS_PROTOCOL=TLS1":         func(c *Config) { c.TLS.StartTLSProtocol = tls.VersionTLS10 },
		"TLS_CIPHER_LIST=AES128-SHA:x": func(c *Config) {
			c.TLS.Ciphers = Ciphers{[]uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, []string{"x"}}
		},
		"TLS_PRIORITY=SECURE256": func(c *Config) { c.TLS.Priority = "SECURE256" },
		"TLS_VERIFYPEER=PEER TLS_TRUSTCERTS=/ca": func(c *Config) {
			c.TLS.Verify, c.TLS.TrustCerts = VerifyPeer, "/ca"
		},
		"TLS_TRUSTCERTS=/ca":                   func(c *Config) { c.TLS.TrustCerts = "/ca" },
		"TLS_EXTERNAL=cn":                      func(c *Config) { c.TLS.External = "cn" },
		"TLS_ALPN=imap,x":                      func(c *Config) { c.TLS.ALPN = []string{"imap", "x"} },
		"TLS_CACHEFILE=/t":                     func(c *Config) { c.TLS.CacheFile = "/t" },
		"TLS_HANDSHAKE_TIMEOUT=9":              func(c *Config) { c.TLS.Handshake = 9 * second },
		"IMAP_CAPABILITY=X":                    func(c *Config) { c.IMAP.Capability = "X" },
		"IMAP_CAPABILITY_TLS=Y":                func(c *Config) { c.IMAP.CapabilityTLS = "Y" },
		"IMAP_ACL=1":                           func(c *Config) { c.IMAP.ACL = true },
		"IMAP_MOVE_EXPUNGE_TO_TRASH=1":         func(c *Config) { c.IMAP.Trash = true },
		"OUTBOX=.Out":                          func(c *Config) { c.IMAP.Outbox = ".Out" },
		"IMAP_ID_FIELDS=3":                     func(c *Config) { c.IMAP.ID, c.IMAP.IDFields = true, 3 },
		"IMAP_PROXY_FOREIGN=2":                 func(c *Config) { c.IMAP.Foreign = ForeignCode },
		"POP3AUTH=PLAIN POP3AUTH_TLS=LOGIN":    func(*Config) {},
		"COURIERTLS=/usr/bin/couriertls PORT=": func(*Config) {},
		"PROXY_MASTER_USER=m PROXY_MASTER_PASSWORD_FILE=/f": func(c *Config) {
			c.MasterUser, c.MasterFile = "m", "/f"
		},
		"HOLD_MAX=0": func(c *Config) { c.MaxHeld = 0 },
		"IMAP_PROXY=1 PROXY_VERIFY=mailhost": func(c *Config) {
			c.Proxy, c.UTF8, c.Verifier = true, false, VerifierMailhost
		},
		"HAPROXY=yes HAPROXY_ALLOW=192.0.2.1,2001:db8::/32": func(c *Config) { c.Balancers = sources },
	}
	tried := map[string]bool{}
	for environ, change := range tests {
		for _, entry := range strings.Fields(environ) {
			name, _, _ := strings.Cut(entry, "=")
			tried[name] = true
		}
		got, err := Load(nil, strings.Fields(environ), IMAP)
		if err != nil {
			t.Errorf("%s: %v", environ, err)
			continue
		}
		want := defaults(IMAP)
		want.IMAP = IMAPDialogue{Capability: "IMAP4rev1", Foreign: ForeignHidden}
		change(&want)
		if d := cmp.Diff(&want, got, same...); d != "" {
			t.Errorf("%s: want (-), got (+):\n%s", environ, d)
		}
	}
	for _, s := range All() {
		if s.Status == Used && s.For != POP3 && !tried[s.Name] {
			t.Errorf("%s is not tried", s.Name)
		}
	}
	got, err := Load(nil, strings.Fields("POP3AUTH=PLAIN POP3AUTH_TLS=LOGIN POP3_PROXY=1 POP3_UTF8=1 "+
		"POP3_UMASK=7 "+
		"POP3_STARTTLS=y "+
		"POP3_TLS=1 POP3_TLS_REQUIRED=true IMAP_PROXY_FOREIGN=maybe IMAP_CAPABILITY=X"), POP3)
	want := defaults(POP3)
	want.POP3 = POP3Dialogue{"PLAIN", "LOGIN"}
	want.Proxy, want.Umask, want.StartTLS, want.Encrypted, want.TLSRequired = true, 7, true, true, true
	if d := cmp.Diff(&want, got, same...); err != nil || d != "" {
		t.Errorf("%v, want (-), got (+):\n%s", err, d)
	}
}

// TestGolden loads broken configurations. Each file of testdata/bad is an archive: configuration files in
// their order, "environment" (NAME=value lines, which Go's %q may write), "protocol" (IMAP unless it says
// POP3), and "want", the error.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d golden files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			protocol, want := IMAP, &txtar.File{}
			var files, environ []string
			for i := range archive.Files {
				f := &archive.Files[i]
				switch f.Name {
				case "want":
					want = f
				case "protocol":
					protocol = Protocol(strings.TrimSpace(string(f.Data)))
				case "environment":
					environ = unquote(t, string(f.Data))
				default:
					files = append(files, filepath.Join(dir, f.Name))
					write(t, files[len(files)-1], string(f.Data))
				}
			}
			c, err := Load(files, environ, protocol)
			if err == nil {
				t.Fatalf("no error, but %+v", c)
			}
			got := strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
			if *update {
				want.Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if d := cmp.Diff(string(want.Data), got); d != "" {
				t.Error(d)
			}
		})
	}
}

// unquote returns the lines of text, those in quotation marks as Go reads them.
func unquote(t *testing.T, text string) (lines []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, `"`) {
			if _, err := fmt.Sscanf(line, "%q", &line); err != nil {
				t.Fatal(err)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// Courier's own files, as Debian installs them, load as they are.
func TestCourierFiles(t *testing.T) {
	for _, p := range []Protocol{IMAP, POP3} {
		base := map[Protocol]string{IMAP: "/etc/courier/imapd", POP3: "/etc/courier/pop3d"}[p]
		c, err := Load([]string{base, base + "-ssl"}, nil, p)
		if err != nil {
			t.Fatal(err)
		}
		if !c.StartTLS || c.Proxy || c.TLSRequired || c.TLS.CertFile == "" || c.TLS.Verify != VerifyNone {
			t.Errorf("%+v", c)
		}
		for name := range c.raw {
			if _, ok := Find(name); !ok {
				t.Errorf("%s of Courier's files is in no list", name)
			}
		}
	}
}

func TestEnviron(t *testing.T) {
	c, err := Load(nil, []string{"B=2", "A=1", "IMAP_PROXY=1"}, IMAP)
	if err != nil || !slices.Equal(c.Environ(), []string{"A=1", "B=2", "IMAP_PROXY=1"}) {
		t.Errorf("%q, %v", c.Environ(), err)
	}
}

// A setting is set when its value counts in place of the default.
func TestIsSet(t *testing.T) {
	c, err := Load(nil, []string{"HAPROXY_ALLOW= ", "DEBUG_LOGIN=0", "RELAY_SOCKET=", "AUTH=x"}, IMAP)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"HAPROXY_ALLOW": false, "PROXY_TLS": false, "DEBUG_LOGIN": true, "RELAY_SOCKET": true, "AUTH": false,
	} {
		if c.IsSet(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// Processes of one connection each count in THROTTLE_FILE, and no more than fits.
func TestPerConnection(t *testing.T) {
	for settings, want := range map[string]string{
		"":                                   "",
		"MAXUNAUTHPERIP=0":                   "",
		"MAXUNAUTHPERIP=32 THROTTLE_FILE=/t": "",
		"MAXUNAUTHPERIP=3": "environment: MAXUNAUTHPERIP needs THROTTLE_FILE, where the front ends count " +
			"together",
		"MAXUNAUTHPERIP=33 THROTTLE_FILE=/t": `environment: MAXUNAUTHPERIP="33": must be a number from 0 to 32, ` +
			"which is what fits into THROTTLE_FILE",
	} {
		c, err := Load(nil, strings.Fields(settings), IMAP)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := c.PerConnection(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", settings, got, want)
		}
	}
}
