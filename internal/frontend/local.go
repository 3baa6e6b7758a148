package frontend

import (
	"errors"
	"maps"
	"slices"

	"mailproxy/authlib"
	"mailproxy/internal/facts"
	"mailproxy/internal/local"
)

// ExecLocal becomes the account's user and the local server. It returns only when that failed, by then
// logged: ErrHome, at once, also for what went wrong after this process had become somebody else (end the
// session with a temporary failure); a *DeniedError (the account belongs to root), ErrTemporary or ErrEnd
// like Login. Where this process does the session's TLS it stays, the local server is a child, and ErrServed
// tells that the session is over. extraEnv are further NAME=value entries (UTF8=1).
func (s *Session) ExecLocal(o *Outcome, tag string, extraEnv ...string) error {
	l := s.local(o.Account, tag, extraEnv)
	var err error
	if doesTLS(s.Conn) {
		err = s.pumpLocal(s.ctx, l, o.Account.Address)
	} else {
		err = s.System.Exec(s.Conn, l)
	}
	switch {
	case errors.Is(err, ErrServed):
		return ErrServed
	case errors.Is(err, local.ErrHome):
		s.logHome(o.Account.Address, l.Home, err)
		return ErrHome
	case errors.Is(err, local.ErrProgram):
		s.logExec(l.Path, err)
	default:
		s.logLocal(o.Account.Address, err)
	}
	if errors.Is(err, local.ErrChanged) {
		return ErrHome
	}
	if errors.Is(err, local.ErrRoot) {
		return s.refuse(s.ctx, &DeniedError{Code: s.Protocol.Codes.Broken})
	}
	return s.refuse(s.ctx, ErrTemporary)
}

// local describes the local server of an account.
func (s *Session) local(account *authlib.Account, tag string, extraEnv []string) *local.Server {
	maildir := account.Maildir
	if maildir == "" {
		maildir = s.Args[1]
	}
	return &local.Server{
		Path: s.Args[0], Args: []string{maildir},
		Environ: s.localEnviron(account, tag, extraEnv),
		Home:    account.Home, SystemUser: account.SystemUser, UID: account.UID, GID: account.GID,
		NonBlocking: s.Protocol.NonBlocking, Skeleton: s.Config.Skeleton,
		AddressSpace: s.Config.AddressSpace, Umask: s.Config.Umask,
	}
}

// localEnviron is the local server's environment: everything that we were given, the client's address, who
// logged in, and what became of TLS. HOME would be root's, and LISTEN_* and NOTIFY_SOCKET mean us.
func (s *Session) localEnviron(account *authlib.Account, tag string, extraEnv []string) []string {
	e := maps.Clone(s.Settings)
	facts.Take(e)
	maps.Copy(e, s.facts.Variables())
	for _, name := range []string{
		"HOME", "MAILDIR", "MAILDIRQUOTA", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET",
	} {
		delete(e, name)
	}
	for name, value := range map[string]string{
		"TCPREMOTEIP": s.Peer.RemoteIP, "TCPREMOTEPORT": s.Peer.RemotePort,
		"TCPLOCALIP": s.Peer.LocalIP, "TCPLOCALPORT": s.Peer.LocalPort,
	} {
		if value != "" {
			e[name] = value
		}
	}
	e["OPTIONS"] = string(account.Options)
	e["AUTHENTICATED"] = account.Address
	if s.Protocol.Name == "IMAP" {
		e["IMAPLOGINTAG"] = tag
		e["PROTOCOL"] = s.Protocol.Name
	}
	if s.TLS {
		e[s.setting("_TLS")] = "1"
		e[s.setting("_STARTTLS")] = "NO"
		e[s.setting("_TLS_REQUIRED")] = "0"
	}
	environ := make([]string, 0, len(e)+len(extraEnv))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		environ = append(environ, name+"="+e[name])
	}
	return append(environ, extraEnv...)
}
