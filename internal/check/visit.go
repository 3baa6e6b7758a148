package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/login"
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
	v := c.server.Protocol.Visit(m)
	greeting, err := v.Greeting(ctx)
	if err != nil {
		c.unusable("greeting", "%s: %v", addr, cause(err))
		return false
	}
	r.ok("greeting", "%s", greeting)
	if maybeUs && strings.HasSuffix(greeting, " "+c.program+" ready.") {
		c.loop(m.Host, addr, true)
		return false
	}
	if err := v.StartTLS(ctx); err != nil {
		c.unusable("tls", "%s: %v", addr, cause(err))
		return false
	}
	defer v.Quit(ctx)
	c.tellTLS(m)
	before, err := v.Capabilities(ctx)
	if err != nil {
		r.warn("capability", "%s does not say what it can do before the login: %v", addr, cause(err))
	} else {
		before = sorted(before)
		r.info("capability", "before the login: %s", strings.Join(before, " "))
		_, encrypted := tlsFacts(m.Conn)
		c.compareTokens("the mailhost", before, encrypted)
	}
	c.login(ctx, m, v, account, before)
	return true
}

// cause is an error of the dialogue without its step, which the report names otherwise.
func cause(err error) error {
	if step, ok := errors.AsType[*mailhost.StepError](err); ok {
		return step.Err
	}
	return err
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

// login logs in as a login would when there is a password, and compares what the mailhost can do then.
func (c *check) login(
	ctx context.Context, m *mailhost.Conn, v mailhost.Visit, account *authlib.Account, before []string,
) {
	r, password := c.report, ""
	if !c.denied {
		var err error
		if password, err = c.password(); err != nil {
			r.fail("login", "read the password: %v", err)
			return
		}
	}
	if password == "" {
		if before != nil {
			c.compare("before the login", before)
		}
		return
	}
	if sasl.Check(c.user, password) != nil {
		r.fail("login", "the name or the password is too long or has control characters: nobody is asked about it")
		return
	}
	if c.own.Verifier != config.VerifierMailhost {
		if account = c.verify(ctx, password); account == nil {
			return
		}
	}
	if err := c.server.Login.Prepare(m, account, password); err != nil {
		r.fail("login", "%s is not logged in to: %v", m.Addr, err)
		return
	}
	name := strconv.Quote(m.User)
	if m.Authzid != "" {
		name = fmt.Sprintf("%q, on behalf of %q", m.User, m.Authzid)
	}
	if err := v.Login(ctx); err != nil {
		if rejected, ok := errors.AsType[*login.RejectedError](err); ok {
			r.fail("login", "%s refuses %s at the step %s: mailhost said %q",
				m.Addr, name, rejected.Step, rejected.Answer.Text)
			return
		}
		r.fail("login", "%s cannot be logged in to as %s: %v", m.Addr, name, err)
		return
	}
	r.ok("login", "%s takes %s", m.Addr, name)
	after, err := v.Capabilities(ctx)
	if err != nil {
		r.warn("capability", "%s does not say what it can do after the login: %v", m.Addr, cause(err))
		return
	}
	c.compare("after the login", sorted(after))
}

// verify asks the auth module about the password, and returns the account that it is for; nil = none.
func (c *check) verify(ctx context.Context, password string) *authlib.Account {
	r, s := c.report, c.server
	proven, err := s.Auth.Authenticate(ctx, &authlib.AuthRequest{
		Service: s.Protocol.Service, Type: authlib.AuthLogin, User: s.Login.LoginName(c.user), Password: password,
		Fresh: true,
	})
	switch {
	case errors.Is(err, authlib.ErrRefused):
		r.fail("login", "the auth module refuses this password")
		return nil
	case err != nil:
		r.fail("login", "%v", err)
		return nil
	}
	r.ok("login", "the auth module takes the password")
	return proven
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
