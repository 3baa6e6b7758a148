package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/tlsconf"
)

// visitTime limits one visit to a mailhost.
const visitTime = 30 * time.Second

// visit goes to one address as far as a login goes, and says whether it is of use: the login's next address
// is tried where it is not. maybeUs: it may be this program that listens there.
func (c *check) visit(
	ctx context.Context, m *mailhost.Conn, addr netip.AddrPort, account *authlib.Account, maybeUs bool,
) bool {
	r := c.report
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	if err := c.server.Login.Mailhosts.Connect(ctx, m, addr); err != nil {
		c.unusable("connect", "%s: %v", addr, err)
		return false
	}
	defer func() { m.Conn.Close() }()
	_ = m.Conn.SetDeadline(time.Now().Add(visitTime))
	r.ok("connect", "%s answers", addr)
	w := newWire(m.Conn)
	greeting, err := c.Dialect.greeting(w)
	if err != nil {
		c.unusable("greeting", "%s: %v", addr, err)
		return false
	}
	r.ok("greeting", "%s", greeting)
	if maybeUs && strings.HasSuffix(greeting, " "+c.program+" ready.") {
		c.loop(m.Host, addr, true)
		return false
	}
	if m.StartTLS != nil {
		if w, err = c.startTLS(ctx, m, w); err != nil {
			c.unusable("tls", "%s: %v", addr, err)
			return false
		}
	}
	c.tellTLS(m)
	before, err := c.Dialect.capabilities(w)
	if err != nil {
		r.warn("capability", "%s does not say what it can do before the login: %v", addr, err)
	} else {
		r.info("capability", "before the login: %s", strings.Join(before, " "))
		_, encrypted := tlsFacts(m.Conn)
		c.compareTokens("the mailhost", before, encrypted)
	}
	c.login(ctx, w, addr, account, before)
	c.Dialect.quit(w)
	return true
}

func (c *check) startTLS(ctx context.Context, m *mailhost.Conn, w *wire) (*wire, error) {
	if err := c.Dialect.startTLS(w); err != nil {
		return nil, err
	}
	if err := m.StartTLS(ctx); err != nil {
		return nil, err
	}
	_ = m.Conn.SetDeadline(time.Now().Add(visitTime))
	return newWire(m.Conn), nil
}

// tellTLS says how well the way to the mailhost is protected.
func (c *check) tellTLS(m *mailhost.Conn) {
	facts, encrypted := tlsFacts(m.Conn)
	switch {
	case encrypted && c.server.Config.Mailhost.Verify == config.VerifyNone:
		c.report.warn(
			"tls",
			"%s, but the certificate is not verified (PROXY_TLS_VERIFYPEER=NONE): "+
				"anybody in between can read passwords",
			facts,
		)
	case encrypted:
		c.report.ok("tls", "%s, the certificate is good for %s", facts, m.Host)
	case loopback(m.Addr):
		c.report.info("tls", "clear text to the mailhost, which is on this machine")
	case c.own.TLS != c.server.Config.Mailhost.Mode:
		c.report.warn("tls",
			"passwords go to the mailhost in clear text; mailhosttls=STARTTLS or YES encrypts them")
	default:
		c.report.warn("tls", "passwords go to the mailhost in clear text; PROXY_TLS=STARTTLS or YES encrypts them")
	}
}

func loopback(addr string) bool {
	ap, err := netip.ParseAddrPort(addr)
	return err == nil && ap.Addr().IsLoopback()
}

// login logs in when there is a password, and compares what the mailhost can do then.
func (c *check) login(
	ctx context.Context,
	w *wire,
	addr netip.AddrPort,
	account *authlib.Account,
	before []string,
) {
	r := c.report
	password, err := c.password()
	if err != nil {
		r.fail("login", "read the password: %v", err)
		return
	}
	if password == "" {
		if before != nil {
			c.compare("before the login", before)
		}
		return
	}
	name, ok := account.Address, true
	if c.own.Verifier != config.VerifierMailhost {
		name, ok = c.verify(ctx, password)
	}
	if c.own.User != "" {
		name = c.own.User
	}
	if !ok {
		return
	}
	if strings.ContainsAny(password, "\r\n\x00") {
		r.fail("login", "the password holds a line end or NUL, which no mailhost is sent")
		return
	}
	if err := c.Dialect.login(w, name, password); err != nil {
		r.fail("login", "%s refuses %q: %v", addr, name, err)
		return
	}
	r.ok("login", "%s takes %q", addr, name)
	after, err := c.Dialect.capabilities(w)
	if err != nil {
		r.warn("capability", "%s does not say what it can do after the login: %v", addr, err)
		return
	}
	c.compare("after the login", after)
}

// verify asks the auth module about the password, and returns the account's address.
func (c *check) verify(ctx context.Context, password string) (address string, ok bool) {
	r, s := c.report, c.server
	proven, err := s.Auth.Authenticate(ctx, &authlib.AuthRequest{
		Service: s.Protocol.Service, Type: authlib.AuthLogin, User: s.Login.LoginName(c.user), Password: password,
		Fresh: true,
	})
	switch {
	case errors.Is(err, authlib.ErrRefused):
		r.fail("login", "the auth module refuses this password")
		return "", false
	case err != nil:
		r.fail("login", "%v", err)
		return "", false
	}
	r.ok("login", "the auth module takes the password")
	return proven.Address, true
}

// here looks at what the local server will need.
func (c *check) here(account *authlib.Account) {
	r := c.report
	if names := c.tokens(); len(names) > 0 {
		r.info("local", "tokens (%s) are refused for an account that is here", strings.Join(names, ", "))
	}
	if c.own.Verifier == config.VerifierMailhost {
		r.fail("local", "an account that is here has no mailhost to verify its password: it may not log in")
		return
	}
	switch {
	case account.SystemUser == "" && (account.UID == nil || *account.UID == 0 || account.GID == nil ||
		*account.GID == 0):
		r.fail("local", "the account has no uid and gid other than 0: no session runs as root")
		return
	case account.Home == "":
		r.fail("local", "the account has no home directory")
		return
	}
	if err := isDir(account.Home); err != nil {
		if c.server.Config.Skeleton != "" && errors.Is(err, os.ErrNotExist) {
			r.info(
				"local",
				"home %s does not exist yet; it is made from AUTH_MKHOMEDIR_SKEL=%s",
				account.Home,
				c.server.Config.Skeleton,
			)
		} else {
			r.fail("local", "home: %v", err)
		}
		return
	}
	r.ok("local", "home %s is there", account.Home)
	maildir := account.Maildir
	if maildir == "" && len(c.server.Args) > 1 {
		maildir = c.server.Args[1]
	}
	if maildir == "" {
		return
	}
	if !filepath.IsAbs(maildir) {
		maildir = filepath.Join(account.Home, maildir)
	}
	if err := isDir(filepath.Join(maildir, "cur")); err != nil {
		r.fail("local", "maildir: %v", err)
		return
	}
	r.ok("local", "maildir %s is there", maildir)
}

func isDir(path string) error {
	st, err := os.Stat(path)
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("%s is not a directory", path)
	}
	return err
}

// tlsFacts describes the encryption of a connection: version and cipher suite.
func tlsFacts(conn launch.Conn) (string, bool) {
	c, ok := conn.(*tlsconf.Conn)
	if !ok {
		return "", false
	}
	state := c.ConnectionState()
	return tls.VersionName(state.Version) + " " + tls.CipherSuiteName(state.CipherSuite), true
}
