package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/text"
)

// mailhosts returns the servers of an account; none means that it is here.
func (s *Session) mailhosts(account *authlib.Account) ([]mailhost.Host, error) {
	if !s.Config.Proxy {
		return nil, nil
	}
	option, _ := account.Options.Get("mailhost")
	hosts, err := mailhost.ParseMailhosts(option)
	if err != nil {
		s.logBadAccount(account.Address, err)
		return nil, ErrTemporary
	}
	if len(hosts) == 0 && !s.service.Local.IsSet() { // the program at PROXY_LOCAL says so
		s.logNoMailhost(account.Address)
	}
	return hosts, nil
}

// reach logs in to the first of an account's servers that takes it. It returns nil when that is this host or
// there are none, a *DeniedError or ErrRefused when a server's answer rules the others out too, ErrTemporary
// when none was of use.
func (s *Session) reach(
	ctx context.Context, hosts []mailhost.Host, c *Credentials, who admitted,
) (*mailhost.Conn, error) {
	if len(hosts) == 0 {
		return nil, nil
	}
	last := ErrTemporary
	for _, host := range hosts {
		here, err := s.service.IsHere(host, s.Peer.LocalPort)
		if err != nil {
			s.logHostname(err)
			return nil, ErrTemporary
		}
		if here {
			return nil, nil
		}
		template, err := s.template(c, who)
		if err != nil {
			return nil, err
		}
		template.Host = host.Name
		m, err := s.tryHost(ctx, host, template)
		if err == nil || isFinal(err) || ctx.Err() != nil {
			return m, err
		}
		last = err
	}
	return nil, last
}

// isFinal says whether a server's answer rules out the others.
func isFinal(err error) bool {
	_, isDenied := errors.AsType[*DeniedError](err)
	return isDenied || errors.Is(err, ErrRefused)
}

// template is what every attempt to log an account in has in common.
func (s *Session) template(c *Credentials, who admitted) (*mailhost.Conn, error) {
	account, o := who.account, who.options
	m := s.newConn(c)
	m.Name, m.Mode, m.Hops = account.Address, o.TLS, s.hops.Left()
	if c.Token != "" { // whose name the token holds
		m.User, m.Mechanism, m.Token = account.Address, c.Mechanism, c.Token
		return m, nil
	}
	m.User, m.Password = account.Address, account.ClearPassword
	if o.User != "" {
		m.User = o.User
	}
	switch {
	case o.Verifier == config.VerifierMailhost:
		m.Password, m.Unverified = c.Password, true
	case s.Config.MasterUser != "":
		secret, err := MasterPassword(s.Config)
		if err != nil {
			s.logMaster(err)
			return nil, ErrTemporary
		}
		m.User, m.Password, m.Authzid = s.Config.MasterUser, secret, m.User
	}
	if err := s.sendable(m, account); err != nil {
		return nil, err
	}
	return m, nil
}

// newConn is a connection to a server to be made, with what it is told of the client.
func (s *Session) newConn(c *Credentials) *mailhost.Conn {
	return &mailhost.Conn{
		Tag: c.Tag, Client: s.Peer, UTF8: c.UTF8, Offered: c.Offered, ID: c.ID, Config: s.Config, Log: s.Log,
	}
}

// sendable says why an account's name and password cannot be said to a server, which is logged: there is no
// password, or they would be more than one line of its protocol.
func (s *Session) sendable(m *mailhost.Conn, account *authlib.Account) error {
	switch {
	case m.Password == "":
		s.logNoPassword(m, account.Address)
		return &DeniedError{Code: s.service.Protocol.Codes.Broken}
	case !text.PlainName(m.User) || !text.Plain(m.Password) || !text.PlainName(m.Authzid):
		s.logBadAccount(account.Address, errors.New("control character in its address or password"))
		return ErrTemporary
	}
	return nil
}

// tryHost tries each address of a server. Its errors are those of reach, and ErrEnd.
func (s *Session) tryHost(
	ctx context.Context, host mailhost.Host, template *mailhost.Conn,
) (*mailhost.Conn, error) {
	addrs, err := s.service.Mailhosts.Resolve(ctx, host, template.Mode)
	if errors.Is(err, mailhost.ErrNotAllowed) {
		s.logNotAllowed(template.Account(), host)
		return nil, ErrTemporary
	}
	switch {
	case err != nil && isStopped(ctx):
		return nil, ErrEnd
	case err != nil:
		s.logUnusable(template, mailhost.StepResolve, err)
		return nil, temporary(err)
	}
	last := ErrTemporary
	for _, addr := range addrs {
		m := *template
		m.Addr = addr.String()
		switch last = s.tryAddress(ctx, addr, &m); {
		case last == nil:
			s.logConnected(&m)
			return &m, nil
		case isFinal(last), ctx.Err() != nil:
			return nil, last
		}
	}
	return nil, last
}

// temporary is ErrTemporary with its cause, which a dialogue may want to know more about.
func temporary(err error) error { return fmt.Errorf("%w: %w", ErrTemporary, err) }

// tryAddress connects and logs in, once more where the mailhost has hung up on something that it need not be
// told. Everything that goes wrong is logged here. On success m.Conn is ready for the relay.
func (s *Session) tryAddress(ctx context.Context, addr netip.AddrPort, m *mailhost.Conn) error {
	switch {
	case s.isOurselves(addr):
		s.logLoop(m, "this is the address and port that the client is connected to")
		return ErrTemporary
	case s.hops.Left() <= 0:
		s.logLoop(m, "the session has come through as many proxies as it may")
		return ErrTemporary
	}
	err := s.service.Mailhosts.LogIn(ctx, m, addr, s.service.Protocol.Login)
	if hungUp, ok := errors.AsType[*mailhost.HungUpError](err); ok && !m.LeaveOut {
		s.logHungUp(m, hungUp)
		m.LeaveOut = true
		err = s.service.Mailhosts.LogIn(ctx, m, addr, s.service.Protocol.Login)
	}
	if err != nil {
		return s.classifyFailure(ctx, m, err)
	}
	return nil
}

// isStopped says that the program was told to stop, which has interrupted what went on: not for a fault of
// the server that was talked to.
func isStopped(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// classifyFailure logs why a mailhost did not take an account, and says whether it is worth trying another.
// ErrEnd, which is not logged, says that nothing is known of it.
func (s *Session) classifyFailure(ctx context.Context, m *mailhost.Conn, err error) error {
	if m.Token != "" {
		if denied := s.classifyTokenFailure(m, err); denied != nil {
			return denied
		}
	}
	if rejected, ok := errors.AsType[*RejectedError](err); ok {
		verdict := s.service.Protocol.Codes.judge(rejected.Answer, ownerOf(m))
		s.logRejected(m, rejected, verdict)
		switch {
		case verdict.failed:
			return ErrRefused
		case verdict.next:
			return temporary(err)
		case verdict.alert:
			return &DeniedError{Code: verdict.code, Alert: text.Line(m.Shown(rejected.Answer.Human))}
		}
		return &DeniedError{Code: verdict.code}
	}
	if isStopped(ctx) {
		return ErrEnd
	}
	step := mailhost.StepLogin
	var at *mailhost.StepError
	if errors.As(err, &at) {
		step, err = at.Step, at.Err
	}
	s.logUnusable(m, step, err)
	return temporary(err)
}

// ownerOf says with whose password a mailhost was logged in to.
func ownerOf(m *mailhost.Conn) passwordOwner {
	switch {
	case m.Unverified:
		return passwordOfClient
	case m.Authzid != "":
		return passwordOfMaster
	}
	return passwordOfAccount
}

// isOurselves says whether an address is the one that the client is connected to, or the one that a balancer
// in front of us is. Connecting there would come back here, again and again, until there are no sockets left.
func (s *Session) isOurselves(addr netip.AddrPort) bool {
	addr = plain(addr)
	return addr == s.own || addr == s.Peer.Local()
}

// plain is an address as it is compared with others: IPv4 as such, and without a zone.
func plain(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
}
