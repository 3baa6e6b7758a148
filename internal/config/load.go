package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mailproxy/internal/haproxy"
	"mailproxy/internal/spelling"
	plaintext "mailproxy/internal/text"
	"mailproxy/internal/throttle"
	"mailproxy/internal/tlsnames"
)

// Load reads the settings of one front end from configuration files, in order, and from the environment,
// which wins. The error joins one error for each line, and for each value, that is not understood, with its
// place and name.
func Load(files, environ []string, p Protocol) (*Config, error) {
	raw, err := readAll(files, environ)
	if err != nil {
		// What settings need of each other is not asked: the line with the other one may be among those.
		_, errs := parse(raw, p)
		return nil, joinErrors(append([]error{err}, errs...))
	}
	return newConfig(raw, p)
}

// newConfig makes a Config of settings that are read already. raw is kept and must not change any more.
func newConfig(raw Raw, p Protocol) (*Config, error) {
	c, errs := parse(raw, p)
	if len(errs) == 0 {
		errs = c.finish()
	}
	if len(errs) > 0 {
		return nil, joinErrors(errs)
	}
	return c, nil
}

// parse reads each setting of the table by itself.
func parse(raw Raw, p Protocol) (c *Config, errs []error) {
	c = &Config{protocol: p, Umask: -1, AuthServices: map[string]string{}, raw: raw}
	table := append(parsed(), authServices(raw)...)
	isOurs := func(s *Setting) bool { return s.set != nil && (s.For == "" || s.For == p) }
	// All defaults come first: some fields have two names.
	for i := range table {
		s := &table[i]
		if s.Default == "" || !isOurs(s) {
			continue
		}
		if err := s.set(c, s.Default); err != nil {
			errs = append(errs, fmt.Errorf("default of %s: %w", s.Name, err))
		}
	}
	var bad []badValue
	for i := range table {
		s := &table[i]
		if !isOurs(s) || !s.isSet(raw) {
			continue
		}
		value := raw[s.Name]
		err := clean(value.Text)
		if err == nil {
			err = s.set(c, value.Text)
		}
		if err != nil {
			err = fmt.Errorf("%s: %s=%s: %w", value.source(), s.Name, shown(value.Text), err)
			bad = append(bad, badValue{value, err})
		}
	}
	slices.SortStableFunc(bad, func(a, b badValue) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	for _, b := range bad {
		errs = append(errs, b.err)
	}
	return c, errs
}

// badValue is a value with what is wrong with it, to be reported in the order of files and lines.
type badValue struct {
	Value
	err error
}

// finish does what depends on several settings.
func (c *Config) finish() (errs []error) {
	needs := func(name, other string) {
		setting, _, _ := strings.Cut(name, "=")
		errs = append(errs, fmt.Errorf("%s: %s needs %s", c.raw[setting].source(), name, other))
	}
	if c.MasterUser != "" && c.MasterFile == "" {
		needs("PROXY_MASTER_USER", "PROXY_MASTER_PASSWORD_FILE")
	}
	if c.MasterFile != "" && c.MasterUser == "" {
		needs("PROXY_MASTER_PASSWORD_FILE", "PROXY_MASTER_USER")
	}
	if c.Verifier == VerifierMailhost && !c.Proxy {
		needs("PROXY_VERIFY=MAILHOST", string(c.protocol)+"_PROXY=1: nobody could log in here")
	}
	if c.Verifier == VerifierMailhost && c.MasterUser != "" {
		errs = append(errs, fmt.Errorf("%s: PROXY_VERIFY=MAILHOST and PROXY_MASTER_USER exclude each other: "+
			"the master user would be logged in with any password", c.raw["PROXY_VERIFY"].source()))
	}
	if c.TLS.Verify != VerifyNone && c.TLS.TrustCerts == "" {
		needs("TLS_VERIFYPEER="+string(c.TLS.Verify), "TLS_TRUSTCERTS")
	}
	if _, _, err := c.TLS.Files(); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", c.raw["TLS_PRIVATE_KEYFILE"].source(), err))
	}
	if !c.utf8Set {
		c.UTF8 = !c.Proxy
	}
	if !c.haproxy {
		c.Balancers = nil
	}
	if c.DomainSep == "" && c.DefDomain != "" {
		_, size := utf8.DecodeRuneInString(c.DefDomain)
		c.DomainSep = c.DefDomain[:size]
	}
	return errs
}

// PerConnection says what is wrong with the settings where each connection has a process of its own: such
// processes count connections in THROTTLE_FILE.
func (c *Config) PerConnection() error {
	limit := c.raw["MAXUNAUTHPERIP"]
	switch {
	case c.MaxUnauthPerIP > 0 && c.ThrottleFile == "":
		return fmt.Errorf("%s: MAXUNAUTHPERIP needs THROTTLE_FILE, where the front ends count together",
			limit.source())
	case c.MaxUnauthPerIP > throttle.MaxConnections:
		return fmt.Errorf("%s: MAXUNAUTHPERIP=%q: must be a number from 0 to %d, which is what fits into "+
			"THROTTLE_FILE", limit.source(), limit.Text, throttle.MaxConnections)
	}
	return nil
}

// clean refuses control characters: what a setting says is sent to clients and mailhosts and written to the
// log.
func clean(text string) error {
	if c, found := plaintext.Control(text); found {
		return fmt.Errorf("control character %q", c)
	}
	return nil
}

// shown is a value as it stands in an error, with an end.
func shown(text string) string {
	const most = 100
	if len(text) > most {
		return strconv.Quote(text[:most]) + "..."
	}
	return strconv.Quote(text)
}

func setDebug(c *Config, text string) error {
	level, ok := spelling.ParseLevel(text)
	if !ok {
		return errNoSwitch
	}
	c.Debug = level
	return nil
}

func setUTF8(c *Config, text string) error {
	c.utf8Set = true
	return switchOf("", "", func(c *Config) *bool { return &c.UTF8 }).set(c, text)
}

// setLocal reads PROXY_LOCAL. Passwords go there in clear text, so it is this machine.
func setLocal(c *Config, text string) error {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "/") {
		c.Local = Place{Path: text}
		return nil
	}
	addr, err := netip.ParseAddrPort(text)
	switch {
	case err != nil || addr.Port() == 0:
		return errors.New("must be a unix socket, as /run/mailproxy/local/imapd, or an IP address and a port, " +
			"as 127.0.0.1:10143")
	case !addr.Addr().Unmap().IsLoopback():
		return errors.New("must be an address of the loopback interface: passwords are sent there in clear text")
	}
	c.Local = Place{Addr: addr}
	return nil
}

func setBalancers(c *Config, text string) (err error) {
	c.Balancers, err = haproxy.ParseSources(text)
	return err
}

// setCiphers reads TLS_CIPHER_LIST. OpenSSL passes over words that it does not know, but a list that leaves
// nothing is an error: to speak with other suites than the ones asked for would be worse.
func setCiphers(c *Config, text string) error {
	c.TLS.Ciphers.IDs, c.TLS.Ciphers.Unknown = tlsnames.ParseCiphers(text)
	if len(c.TLS.Ciphers.IDs) == 0 {
		return errors.New("leaves no usable cipher")
	}
	return nil
}

// setAddressSpace reads LOCAL_ULIMIT_V as the shell's ulimit -v does.
func setAddressSpace(c *Config, text string) error {
	if text = strings.TrimSpace(text); strings.EqualFold(text, "unlimited") {
		c.AddressSpace = 0
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > 1<<50 {
		return errors.New("must be a number of KiB from 1 on or unlimited")
	}
	c.AddressSpace = int(n)
	return nil
}
