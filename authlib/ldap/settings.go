package ldap

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"mailproxy/authlib"
	"mailproxy/authlib/rcfile"
	"mailproxy/internal/trust"
)

// settings are those of authldaprc. Names of attributes are "" when they are not to be asked for.
type settings struct {
	uris             []string
	tls              *tls.Config
	startTLS         bool
	timeout          time.Duration // of one operation, and of connecting to one server
	initBind         bool
	bindDN, bindPW   string
	authBind         bool
	base             string
	deref            int
	mail, domain     string
	filter           string // "" = none
	enumerate        string
	home, mailroot   string
	maildir, quota   string
	name, delivery   string
	clearPW, cryptPW string
	uid, gid         string
	globUID, globGID string      // numbers, checked
	options          [][2]string // attribute, option
	emailmap         string      // template
	emailmapBase     string
	emailmapAttr     string
	emailmapMail     string
	attributes       []string // that a search for an account asks for
}

// known are all settings that an authldaprc may have; LDAP_SERVER and LDAP_PORT are those of older versions
// of Courier.
var known = []string{
	"LDAP_URI", "LDAP_SERVER", "LDAP_PORT", "LDAP_PROTOCOL_VERSION", "LDAP_BASEDN", "LDAP_BINDDN", "LDAP_BINDPW",
	"LDAP_TIMEOUT", "LDAP_AUTHBIND", "LDAP_INITBIND", "LDAP_MAIL", "LDAP_FILTER", "LDAP_ENUMERATE_FILTER",
	"LDAP_DOMAIN", "LDAP_GLOB_UID", "LDAP_GLOB_GID", "LDAP_HOMEDIR", "LDAP_MAILROOT", "LDAP_MAILDIR",
	"LDAP_DEFAULTDELIVERY",
	"LDAP_MAILDIRQUOTA", "LDAP_FULLNAME", "LDAP_CLEARPW", "LDAP_CRYPTPW", "LDAP_UID", "LDAP_GID",
	"LDAP_AUXOPTIONS", "LDAP_DEREF", "LDAP_TLS", "LDAP_EMAILMAP", "LDAP_EMAILMAP_BASEDN",
	"LDAP_EMAILMAP_ATTRIBUTE", "LDAP_EMAILMAP_MAIL",
}

// defaultTimeout is that of LDAP_TIMEOUT, in seconds.
const defaultTimeout = 5

func newSettings(
	s *rcfile.Settings,
	env func(name string) string,
	warnf func(format string, args ...any),
) (*settings, error) {
	c := &settings{
		uris:   strings.FieldsFunc(s.Get("LDAP_URI"), func(r rune) bool { return strings.ContainsRune(", \t", r) }),
		bindDN: s.Get("LDAP_BINDDN"), bindPW: s.Get("LDAP_BINDPW"),
		base:   s.Get("LDAP_BASEDN"),
		mail:   s.Default("LDAP_MAIL", "mail"),
		domain: s.Get("LDAP_DOMAIN"),
		home:   s.Default("LDAP_HOMEDIR", "homeDir"), mailroot: s.Get("LDAP_MAILROOT"),
		maildir: s.Get("LDAP_MAILDIR"), quota: s.Get("LDAP_MAILDIRQUOTA"),
		name: s.Default("LDAP_FULLNAME", "cn"), delivery: s.Get("LDAP_DEFAULTDELIVERY"),
		clearPW: s.Get("LDAP_CLEARPW"), cryptPW: s.Get("LDAP_CRYPTPW"),
		uid: s.Get("LDAP_UID"), gid: s.Get("LDAP_GID"),
		emailmap: s.Get("LDAP_EMAILMAP"), emailmapBase: s.Default("LDAP_EMAILMAP_BASEDN", s.Get("LDAP_BASEDN")),
		emailmapAttr: s.Default("LDAP_EMAILMAP_ATTRIBUTE", "handle"),
	}
	c.emailmapMail = s.Default("LDAP_EMAILMAP_MAIL", c.mail)
	if err := c.connection(s, warnf); err != nil {
		return nil, err
	}
	deref := s.Default("LDAP_DEREF", "never")
	var known bool
	derefs := map[string]int{"never": 0, "searching": 1, "finding": 2, "always": 3}
	if c.deref, known = derefs[strings.ToLower(deref)]; !known {
		return nil, fmt.Errorf("LDAP_DEREF: %q is none of never, searching, finding, always", deref)
	}
	if err := cmp.Or(c.filters(s), c.ids(s), c.auxOptions(s)); err != nil {
		return nil, err
	}
	c.attributes = c.wanted()
	var err error
	c.tls, err = tlsConfig(env, warnf)
	return c, err
}

// connection reads how to reach the servers, and how to log in there, and checks what newSettings has read.
func (c *settings) connection(s *rcfile.Settings, warnf func(format string, args ...any)) error {
	var errs [5]error
	var version, seconds int
	c.startTLS, errs[0] = s.Switch("LDAP_TLS")
	c.initBind, errs[1] = s.Switch("LDAP_INITBIND")
	c.authBind, errs[2] = s.Switch("LDAP_AUTHBIND")
	version, errs[3] = s.Number("LDAP_PROTOCOL_VERSION")
	seconds, errs[4] = s.Number("LDAP_TIMEOUT")
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	c.timeout = time.Duration(cmp.Or(seconds, defaultTimeout)) * time.Second
	if version != 0 && version != 3 {
		warnf("LDAP_PROTOCOL_VERSION %d: ignored, version 3 is spoken", version)
	}
	switch {
	case len(c.uris) == 0:
		return errors.New("LDAP_URI is not set")
	case c.base == "":
		return errors.New("LDAP_BASEDN is not set")
	case c.initBind && c.bindDN == "":
		return errors.New("LDAP_INITBIND is set, but LDAP_BINDDN is not")
	}
	for _, uri := range c.uris {
		if _, _, _, err := target(uri); err != nil {
			return fmt.Errorf("LDAP_URI: %w", err)
		}
	}
	return nil
}

// auxOptions reads which attributes are options of an account.
func (c *settings) auxOptions(s *rcfile.Settings) error {
	for pair := range strings.SplitSeq(s.Get("LDAP_AUXOPTIONS"), ",") {
		attribute, option, ok := strings.Cut(pair, "=")
		attribute, option = strings.TrimSpace(attribute), strings.TrimSpace(option)
		switch {
		case ok && attribute != "" && option != "":
			c.options = append(c.options, [2]string{attribute, option})
		case strings.TrimSpace(pair) != "":
			return fmt.Errorf("LDAP_AUXOPTIONS: %q is not ATTRIBUTE=OPTION", pair)
		}
	}
	return nil
}

func (c *settings) filters(s *rcfile.Settings) error {
	c.filter = s.Get("LDAP_FILTER")
	c.enumerate = s.Default("LDAP_ENUMERATE_FILTER", s.Default("LDAP_FILTER", "("+c.mail+"=*)"))
	for _, f := range [][2]string{{"LDAP_FILTER", c.filter}, {"LDAP_ENUMERATE_FILTER", c.enumerate},
		{"LDAP_MAIL", equal(c.mail, "x")}, {"LDAP_EMAILMAP", c.mapFilter("user", "realm")}} {
		if f[1] == "" {
			continue
		}
		if _, err := goldap.CompileFilter(f[1]); err != nil {
			return fmt.Errorf("%s: %w", f[0], err)
		}
	}
	return nil
}

// ids reads the ids of all accounts: numbers, or names that the system knows.
func (c *settings) ids(s *rcfile.Settings) (err error) {
	c.globUID, err = globalID(s.Get("LDAP_GLOB_UID"), func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("%w (names are looked up in /etc/passwd only)", err)
		}
		return u.Uid, nil
	})
	if err != nil {
		return fmt.Errorf("LDAP_GLOB_UID: %w", err)
	}
	c.globGID, err = globalID(s.Get("LDAP_GLOB_GID"), func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", fmt.Errorf("%w (names are looked up in /etc/group only)", err)
		}
		return g.Gid, nil
	})
	if err != nil {
		return fmt.Errorf("LDAP_GLOB_GID: %w", err)
	}
	return nil
}

// globalID reads a number, or a name that lookup turns into one; "" stays "".
func globalID(text string, lookup func(name string) (string, error)) (number string, err error) {
	if text == "" {
		return "", nil
	}
	number = text
	if strings.Trim(text, "0123456789") != "" {
		if number, err = lookup(text); err != nil {
			return "", err
		}
	}
	if _, err := authlib.ParseID(number); err != nil {
		return "", fmt.Errorf("%q: %w", text, err)
	}
	return number, nil
}

func (c *settings) wanted() (names []string) {
	seen := map[string]bool{"": true}
	add := func(name string) {
		if key := strings.ToLower(name); !seen[key] {
			seen[key] = true
			names = append(names, name)
		}
	}
	for _, name := range []string{c.mail, c.home, c.maildir, c.quota, c.name, c.delivery, c.clearPW, c.cryptPW,
		c.uid, c.gid} {
		add(name)
	}
	for _, o := range c.options {
		add(o[0])
	}
	return names
}

// tlsConfig follows ldap.conf(5), whose TLS_ options stand in the environment as LDAPTLS_.
func tlsConfig(env func(name string) string, warnf func(format string, args ...any)) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	switch want := strings.ToLower(env("LDAPTLS_REQCERT")); want {
	case "never", "allow":
		cfg.InsecureSkipVerify = true
	case "", "try", "demand", "hard":
	default:
		return nil, fmt.Errorf("LDAPTLS_REQCERT: %q is none of never, allow, try, demand, hard", want)
	}
	file := trust.Setting{Name: "LDAPTLS_CACERT", Path: env("LDAPTLS_CACERT")}
	directory := trust.Setting{Name: "LDAPTLS_CACERTDIR", Path: env("LDAPTLS_CACERTDIR")}
	if file.Path != "" || directory.Path != "" {
		var err error
		if cfg.RootCAs, err = trust.Load(file, directory); err != nil {
			return nil, err
		}
	}
	if cert := env("LDAPTLS_CERT"); cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, cmp.Or(env("LDAPTLS_KEY"), cert))
		if err != nil {
			return nil, fmt.Errorf("LDAPTLS_CERT: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	for _, name := range []string{"LDAPTLS_CIPHER_SUITE", "LDAPTLS_CRLFILE", "LDAPTLS_CRLCHECK"} {
		if env(name) != "" {
			warnf("%s: not supported, ignored", name)
		}
	}
	return cfg, nil
}
