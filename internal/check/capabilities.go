package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/mailhost"
)

// enumerator is an auth module that lists its accounts.
type enumerator interface {
	Enumerate(ctx context.Context, yield func(*authlib.Account) error) error
}

// capabilities asks each mailhost of all accounts once for its capabilities, and prints those that all of
// them have. With PROXY_MASTER_USER that is the list after a login; else the one before it, which many
// servers keep short.
func (c *check) capabilities(ctx context.Context) {
	r := c.report
	hosts, err := c.allHosts(ctx)
	if err != nil {
		r.fail("auth", "list of accounts: %v", err)
		return
	}
	lists := map[string][]string{}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		list, encrypted, err := c.askHost(ctx, hosts[host])
		if err != nil {
			r.fail("mailhost", "%s: %v", host, err)
			continue
		}
		if c.server.Config.MasterUser == "" { // else it is the list after the login, without mechanisms
			c.compareTokens(host, list, encrypted)
		}
		lists[host] = slices.DeleteFunc(list, beforeLogin)
	}
	if len(lists) == 0 {
		r.warn("capability", "no mailhost was asked: no account has one elsewhere, or none answers")
		return
	}
	var common []string
	for i, host := range slices.Sorted(maps.Keys(lists)) {
		if i == 0 {
			common = slices.Clone(lists[host])
		}
		common = slices.DeleteFunc(common, func(w string) bool { return !slices.Contains(lists[host], w) })
	}
	for _, host := range slices.Sorted(maps.Keys(lists)) {
		if more := missing(lists[host], common); len(more) > 0 {
			r.warn("capability", "%s has what others do not: %s", host, strings.Join(more, " "))
		}
	}
	if c.server.Config.MasterUser == "" {
		r.info("capability", "these are the lists before the login, which may be short: "+
			"PROXY_MASTER_USER makes it those after it")
	}
	r.ok("capability", "%d mailhosts have all of it: %s", len(lists), c.line(common))
}

// line is what the settings are to say when list is true of all mailhosts.
func (c *check) line(list []string) string {
	if c.server.Protocol.Name == "POP3" {
		utf8 := "NO"
		if slices.ContainsFunc(list, func(w string) bool { return w == "UTF8" || strings.HasPrefix(w, "UTF8 ") }) {
			utf8 = "YES"
		}
		return strings.Join(list, ", ") + "; POP3_UTF8=" + utf8
	}
	words := []string{}
	for _, w := range list {
		if name, ok := strings.CutPrefix(w, "IMAP4REV"); ok { // first, and as everybody writes it
			words = slices.Insert(words, 0, "IMAP4rev"+name)
			continue
		}
		words = append(words, w)
	}
	// How clients log in is this program's own.
	for w := range strings.FieldsSeq(c.server.Config.IMAP.Capability) {
		if upper := strings.ToUpper(w); strings.HasPrefix(upper, "AUTH=") || upper == "SASL-IR" {
			words = append(words, w)
		}
	}
	return fmt.Sprintf("IMAP_CAPABILITY=%q", strings.Join(words, " "))
}

// place is a mailhost and one of its accounts.
type place struct {
	host    mailhost.Host
	account *authlib.Account
}

// allHosts are the mailhosts of all accounts, by the text of the option, without this host.
func (c *check) allHosts(ctx context.Context) (map[string]place, error) {
	auth, ok := c.server.Auth.(enumerator)
	if !ok {
		return nil, errors.New("the auth module has none")
	}
	places := map[string]place{}
	err := auth.Enumerate(ctx, func(a *authlib.Account) error {
		option, _ := a.Options.Get("mailhost")
		hosts, err := mailhost.ParseMailhosts(option)
		if err != nil {
			c.report.warn("place", "account %q: %v", a.Address, err)
		}
		for _, host := range hosts {
			if here, err := c.server.Login.IsHere(host, ""); err != nil || here {
				continue
			}
			if p, known := places[host.String()]; !known || !c.canAsk(p.account) {
				places[host.String()] = place{host, a}
			}
		}
		return nil
	})
	return places, err
}

// canAsk says whether an account's options let its mailhost be asked, on its behalf where there is a master
// user.
func (c *check) canAsk(account *authlib.Account) bool {
	own, err := c.server.Login.AccountOptions(account)
	return err == nil && (c.server.Config.MasterUser == "" || own.Verifier != config.VerifierMailhost)
}

// askHost returns the list of the first address that answers, and whether the connection was encrypted.
func (c *check) askHost(ctx context.Context, p place) (list []string, encrypted bool, err error) {
	own, err := c.server.Login.AccountOptions(p.account)
	if err != nil {
		return nil, false, err
	}
	addrs, err := c.server.Login.Mailhosts.Resolve(ctx, p.host, own.TLS)
	if err != nil {
		return nil, false, err
	}
	err = errors.New("it has no address")
	for _, addr := range addrs {
		m := c.conn(p.host, addr, own)
		ctx, cancel := context.WithTimeout(ctx, visitTime)
		defer cancel()
		if err = c.server.Login.Mailhosts.Connect(ctx, m, addr); err != nil {
			continue
		}
		list, err = c.ask(ctx, m, p.account)
		_, encrypted = tlsFacts(m.Conn)
		m.Conn.Close()
		if err == nil {
			return list, encrypted, nil
		}
	}
	return nil, false, err
}

// ask gets the list over a fresh connection.
func (c *check) ask(ctx context.Context, m *mailhost.Conn, account *authlib.Account) ([]string, error) {
	_ = m.Conn.SetDeadline(time.Now().Add(visitTime))
	asMaster := c.server.Config.MasterUser != ""
	if asMaster {
		if err := c.server.Login.Prepare(m, account, ""); err != nil {
			return nil, err
		}
	}
	v := c.server.Protocol.Visit(m)
	if _, err := v.Greeting(ctx); err != nil {
		return nil, err
	}
	if err := v.StartTLS(ctx); err != nil {
		return nil, err
	}
	defer v.Quit(ctx)
	if asMaster {
		if err := v.Login(ctx); err != nil {
			return nil, err
		}
	}
	list, err := v.Capabilities(ctx)
	return sorted(list), err
}

// beforeLogin says whether a capability only concerns the way to log in, and ends with the login.
func beforeLogin(w string) bool {
	for _, prefix := range []string{"AUTH=", "SASL", "IMPLEMENTATION", "LOGIN-DELAY"} {
		if strings.HasPrefix(w, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"STARTTLS", "STLS", "LOGINDISABLED", "LOGIN-REFERRALS", "USER"}, w)
}
