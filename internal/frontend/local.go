package frontend

import (
	"context"
	"errors"
	"maps"
	"slices"

	"mailproxy/authlib"
	"mailproxy/internal/facts"
	"mailproxy/internal/launch"
	"mailproxy/internal/local"
	"mailproxy/internal/login"
	"mailproxy/relay"
)

// execLocal hands the client to the local server of an account that is here. In a process that serves one
// connection it becomes the account's user and the local server, and returns only when that failed; where it
// does the session's TLS it stays, the local server is a child, and nil tells that a Carrier has the session.
// Errors, by then logged: ErrEndSession, at once; a *login.DeniedError (the account belongs to root, or there
// are no local accounts), login.ErrTemporary or login.ErrEnd as from Session.Login.
func (c *Conn) execLocal(
	ctx context.Context, account *authlib.Account, environ map[string]string,
) error {
	if c.server.Local == nil {
		c.LogLocal(account.Address, errNoLocal)
		return c.Refuse(ctx, &login.DeniedError{Code: c.server.Protocol.Codes.Broken})
	}
	l := c.localServer(account, environ)
	var err error
	if doesTLS(c.Client) {
		if err = c.startLocal(ctx, l, account.Address); err == nil {
			return nil
		}
	} else {
		err = c.server.Local.Exec(c.Client, l)
	}
	switch {
	case errors.Is(err, local.ErrHome):
		c.LogHome(account.Address, l.Home, err)
		return ErrEndSession
	case errors.Is(err, local.ErrProgram):
		c.LogExec(l.Path, err)
	default:
		c.LogLocal(account.Address, err)
	}
	if errors.Is(err, local.ErrChanged) {
		return ErrEndSession
	}
	if errors.Is(err, local.ErrRoot) {
		return c.Refuse(ctx, &login.DeniedError{Code: c.server.Protocol.Codes.Broken})
	}
	return c.Refuse(ctx, login.ErrTemporary)
}

// errNoLocal says that this program serves no accounts that are here.
var errNoLocal = errors.New("this process serves many connections and starts no local server: " +
	"PROXY_LOCAL must name a listener that serves one connection a process")

// startLocal starts the local server on a socket pair, and has a Carrier join it and our TLS. An error says
// that the server did not start; this process has not changed then. What goes wrong afterwards is logged, and
// ends the session.
func (c *Conn) startLocal(ctx context.Context, l *local.Server, address string) error {
	ours, theirs, err := launch.Pair()
	if err != nil {
		return err
	}
	server, err := c.server.Local.Start(theirs, l)
	theirs.Close()
	if err != nil {
		ours.Close()
		return err
	}
	_ = server.Release() // this process ends when the session does: nobody waits for the server
	// The local server writes its own line at the end, so the session has no protocol.
	err = c.carry(ctx, c.relaySession(ours, relay.Info{User: address, Mailhost: "local"}))
	if err != nil {
		ours.Close()
		c.logCarry(err)
	}
	return nil
}

// localServer describes the local server of an account.
func (c *Conn) localServer(account *authlib.Account, environ map[string]string) *local.Server {
	maildir := account.Maildir
	if maildir == "" {
		maildir = c.server.Args[1]
	}
	return &local.Server{
		Path: c.server.Args[0], Args: []string{maildir},
		Environ: c.localEnviron(account, environ),
		Home:    account.Home, SystemUser: account.SystemUser, UID: account.UID, GID: account.GID,
		NonBlocking: c.server.Protocol.NonBlocking, Skeleton: c.Config.Skeleton,
		AddressSpace: c.Config.AddressSpace, Umask: c.Config.Umask,
	}
}

// localEnviron is the local server's environment: everything that we were given, the client's address, who
// logged in, what became of TLS, and the protocol's own.
func (c *Conn) localEnviron(account *authlib.Account, own map[string]string) []string {
	e := c.Config.LocalEnviron(c.TLS)
	facts.Extract(e)
	maps.Copy(e, c.Peer.TLS.Variables())
	maps.Copy(e, own)
	for name, value := range map[string]string{
		"TCPREMOTEIP": c.Peer.RemoteIP, "TCPREMOTEPORT": c.Peer.RemotePort,
		"TCPLOCALIP": c.Peer.LocalIP, "TCPLOCALPORT": c.Peer.LocalPort,
	} {
		if value != "" {
			e[name] = value
		}
	}
	e["OPTIONS"] = string(account.Options)
	e["AUTHENTICATED"] = account.Address
	environ := make([]string, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		environ = append(environ, name+"="+e[name])
	}
	return environ
}
