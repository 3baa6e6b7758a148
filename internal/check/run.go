package check

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
)

// check is one inspection.
type check struct {
	report *report
	// server is made from the settings as one that serves connections.
	server *frontend.Server
	// raw is the settings as they were read.
	raw config.Raw
	// files are the files of -config.
	files []string
	// settingsError is what was wrong with the settings, when something was.
	settingsError error
	// silent is the server again, without its log: for what clients are told before they log in.
	silent *frontend.Server
	// program is the front end's name, as it is in its greeting.
	program string
	// servers are the names that clients connect to; a certificate must be good for each.
	servers []string
	// user is the account to follow; empty = only settings and the auth module.
	user string
	// all asks for the capabilities of all mailhosts instead of following an account.
	all bool
	// several: the account has more than one server, or its server more than one address. usable is how many of
	// them have been of use.
	several bool
	usable  int
	// denied: no login of the account comes as far as its mailhost.
	denied bool
	// own is what the account's options say.
	own login.AccountOptions
	// password asks for the account's password; "" = do not log in.
	password func() (string, error)
}

// auth modules, in the order in which they are asked who answers.
var modules = []string{"authuserdb", "authldap", "authmysql", "authpgsql"}

// run makes the inspection and returns the exit status: 0 when every step went well, 1 when one failed.
func (c *check) run(ctx context.Context) int {
	c.settings()
	if c.settingsError == nil && c.all {
		c.capabilities(ctx)
	} else if c.settingsError == nil {
		if account := c.account(ctx); account != nil {
			var ok bool
			if c.own, ok = c.options(account); ok {
				c.mailhosts(ctx, account)
			}
		}
	}
	if c.report.failed {
		return 1
	}
	return 0
}

// account asks the auth module as a login would, but without a password.
func (c *check) account(ctx context.Context) *authlib.Account {
	s, r := c.server, c.report
	if c.user == "" {
		// Whether there is an account "check" does not matter: any answer shows that the module works.
		req := &authlib.LookupRequest{Service: s.Protocol.Service, User: "check", Fresh: true}
		_, err := s.Auth.Lookup(ctx, req)
		if err != nil && !errors.Is(err, authlib.ErrRefused) {
			c.noAnswer(ctx, "check", err)
		} else {
			r.ok("auth", "the auth module answers")
		}
		return nil
	}
	name := s.Login.LoginName(c.user)
	// What has just been changed in the database counts, not what the daemon remembers.
	req := &authlib.LookupRequest{Service: s.Protocol.Service, User: name, Fresh: true}
	began := time.Now()
	account, err := s.Auth.Lookup(ctx, req)
	switch {
	case errors.Is(err, authlib.ErrRefused):
		r.fail("auth", "no account %q: it is in none of the databases that authmodulelist names", name)
		return nil
	case err != nil:
		c.noAnswer(ctx, name, err)
		return nil
	}
	r.ok(
		"auth",
		"account %q is known as %q, answered by %s in %d ms",
		name,
		account.Address,
		c.module(ctx, req),
		time.Since(began).Milliseconds(),
	)
	// An account whose mailhost verifies the password needs none here.
	if own, err := s.Login.AccountOptions(account); err != nil || own.Verifier != config.VerifierMailhost {
		c.stored(account)
	}
	c.disabled(account)
	return account
}

// stored says what can be done with the password that the database has.
func (c *check) stored(account *authlib.Account) {
	if account.ClearPassword == "" && c.server.Config.MasterUser == "" {
		c.report.info("auth",
			"the clear password is not stored: CRAM logins cannot be proxied unless PROXY_MASTER_USER is set")
	}
	c.hash(account)
	c.scram(account)
}

// module finds out which database answered.
func (c *check) module(ctx context.Context, req *authlib.LookupRequest) string {
	for _, name := range modules {
		one := *req
		one.Module = name
		if _, err := c.server.Auth.Lookup(ctx, &one); err == nil {
			return name
		}
	}
	return "a module of its own"
}

// mailhosts follows the account to its servers.
func (c *check) mailhosts(ctx context.Context, account *authlib.Account) {
	s, r := c.server, c.report
	option, _ := account.Options.Get("mailhost")
	switch {
	case !s.Config.Proxy:
		r.info("place", "%s_PROXY is not set: the account is served here, by %s", s.Protocol.Name, local(s))
		c.here(account)
		return
	case strings.TrimSpace(option) == "":
		r.warn("place", "the account has no option mailhost=...: it is served here")
		c.here(account)
		return
	}
	hosts, err := mailhost.ParseMailhosts(option)
	if err != nil {
		r.fail("place", "%v", err)
		return
	}
	c.several = len(hosts) > 1
	for _, host := range hosts {
		isHere, err := s.Login.IsHere(host, "")
		switch {
		case err != nil:
			r.fail("place", "gethostname: %v", err)
		case isHere:
			r.ok("place", "mailhost %s is this host", host)
			c.usable++
			c.here(account)
		default:
			r.ok("place", "mailhost %s is elsewhere", host)
			c.there(ctx, host, account)
		}
	}
	if c.several && c.usable == 0 {
		r.fail("place", "none of the account's servers can be used")
	}
}

// unusable says that one server, or one of its addresses, is of no use, which is a failure where it is the
// only one: a login tries the next.
func (c *check) unusable(topic, format string, args ...any) {
	if c.several {
		c.report.warn(topic, format, args...)
		return
	}
	c.report.fail(topic, format, args...)
}

func local(s *frontend.Server) string {
	if len(s.Args) == 0 {
		return "the local server of the launcher's command line"
	}
	return s.Args[0]
}

// there connects to every address of a mailhost.
func (c *check) there(ctx context.Context, host mailhost.Host, account *authlib.Account) {
	addrs, err := c.server.Login.Mailhosts.Resolve(ctx, host, c.own.TLS)
	if err != nil {
		c.unusable("mailhost", "%s: %v", host, err)
		return
	}
	c.several = c.several || len(addrs) > 1
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	c.report.ok("mailhost", "%s has the address %s", host, strings.Join(texts, ", "))
	for _, addr := range addrs {
		m := c.conn(host, addr, c.own)
		back := c.comesBack(addr)
		if back {
			c.loop(host.Name, addr, false)
		}
		if c.visit(ctx, m, addr, account, back) {
			c.usable++
		}
	}
}

// conn is a connection to a mailhost that is still to be made. What its dialogue warns of is part of the
// report.
func (c *check) conn(host mailhost.Host, addr netip.AddrPort, own login.AccountOptions) *mailhost.Conn {
	return &mailhost.Conn{
		Host: host.Name, Addr: addr.String(), Mode: own.TLS, Config: c.server.Config,
		Log: maillog.NewLog(logLines{c.report, "mailhost"}),
	}
}

// compare compares a mailhost's list with the one that a client sees which can log in, and says what the
// client would miss. Where clients see another list under TLS than without, both are compared.
func (c *check) compare(when string, offered []string) {
	clear, secure := c.advertised(false), c.advertised(true)
	strange := func(w string) bool {
		return beforeLogin(w) ||
			slices.Contains([]string{"ID", "UTF8 USER", "UTF8", "LANG", "RESP-CODES", "AUTH-RESP-CODE"}, w)
	}
	clear, secure = slices.DeleteFunc(clear, strange), slices.DeleteFunc(secure, strange)
	switch {
	case slices.Equal(clear, secure), c.server.Config.TLSRequired:
		c.compareWith(when, secure, offered, strange)
	default:
		c.compareWith(when, clear, offered, strange)
		c.compareWith(when+", under TLS", secure, offered, strange)
	}
}

// advertised is the list that clients are shown.
func (c *check) advertised(tls bool) []string {
	var list []string
	for _, capability := range c.silent.Capabilities(tls) {
		list = append(list, strings.ToUpper(capability))
	}
	return sorted(list)
}

func (c *check) compareWith(when string, advertised, offered []string, strange func(string) bool) {
	lost := missing(advertised, offered)
	more := slices.DeleteFunc(missing(offered, advertised), strange)
	if len(lost) > 0 {
		c.report.warn(
			"capability",
			"we advertise what the mailhost does not do %s: %s",
			when,
			strings.Join(lost, " "),
		)
	}
	if len(more) > 0 {
		c.report.info(
			"capability",
			"the mailhost does more %s than we advertise: %s",
			when,
			strings.Join(more, " "),
		)
	}
	if len(lost) == 0 && len(more) == 0 {
		c.report.ok("capability", "the same list %s as ours", when)
	}
}

func sorted(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

// missing returns the words of a that b lacks.
func missing(a, b []string) []string {
	var out []string
	for _, w := range a {
		if !slices.Contains(b, w) {
			out = append(out, w)
		}
	}
	return out
}
