package frontend

import (
	"context"
	"fmt"
	"maps"
	"net"

	"mailproxy/internal/tlsfiles"
)

// setting returns a setting that IMAP and POP3 have by their own names: IMAP_TLS, POP3_TLS.
func (s *Session) setting(suffix string) string { return s.Protocol.Name + suffix }

// BeginTLS finds out whether the connection is encrypted and, where it should be and is not yet, makes the handshake
// (port 993 and 995 without couriertls). It is called once, before the greeting. An error ends the session without a word: it is
// logged, and the client would not understand clear text.
func (s *Session) BeginTLS(ctx context.Context) error {
	if s.resumed != nil {
		return s.handshake(ctx, true, Resumption{})
	}
	s.TLS = s.Settings.Number(s.setting("_TLS")) != 0
	if !s.TLS || s.tlsInFront() {
		return nil
	}
	return s.handshake(ctx, false, Resumption{})
}

// tlsInFront tells a connection that somebody else decrypts for us from one that carries TLS itself. couriertls says so
// in TLS_CONNECTED_PROTOCOL; whoever else stands between us and the client (stunnel, s6-tlsd) gives us a socket pair or pipes. What
// remains, a TCP socket under IMAP_TLS=1, is the client's own.
func (s *Session) tlsInFront() bool {
	if s.Settings.Get(tlsfiles.ConnectedVariable) != "" {
		return true
	}
	_, tcp := s.Conn.RemoteAddr().(*net.TCPAddr)
	return !tcp
}

// OffersStartTLS says whether STARTTLS (STLS) is to be advertised and accepted: the setting says yes, the connection is
// not encrypted yet, a certificate loads, and somebody is there to make the handshake. What is missing is logged the first time.
func (s *Session) OffersStartTLS() bool {
	if s.TLS || !s.startTLSWanted() {
		return false
	}
	if s.startTLS == 0 {
		s.startTLS = startTLSReady
		err := s.nobodyEncrypts()
		if err == nil {
			err = tlsfiles.Check(s.tlsOptions(true))
		}
		if err != nil {
			s.startTLS = startTLSBroken
			s.logNotOffered(err)
		}
	}
	return s.startTLS == startTLSReady
}

// startTLSWanted reads IMAP_STARTTLS or POP3_STARTTLS. Courier's imapd-ssl calls the former IMAPDSTARTTLS and its start
// script renames it; without that script the file's own name counts.
func (s *Session) startTLSWanted() bool {
	if _, set := s.Settings.Lookup(s.setting("_STARTTLS")); !set && s.Protocol.Name == "IMAP" {
		return s.Settings.Yes("IMAPDSTARTTLS")
	}
	return s.Settings.Yes(s.setting("_STARTTLS"))
}

// startTLSState remembers what OffersStartTLS found out.
type startTLSState int

const (
	startTLSReady startTLSState = 1 + iota
	startTLSBroken
)

// NeedsTLS says that logins must be refused until the connection is encrypted (IMAP_TLS_REQUIRED, POP3_TLS_REQUIRED).
func (s *Session) NeedsTLS() bool {
	return !s.TLS && s.Settings.Number(s.setting("_TLS_REQUIRED")) != 0
}

// StartTLS makes the handshake, after the dialogue has said that it may begin; so far tells its successor about the dialogue
// when this process has to become another program for it. Whatever the client sent behind its
// command in clear text is still in the connection, is no TLS record, and so fails the handshake (CVE-2011-0411). Settings
// change as for a session that was encrypted from the start. After an error the session is over; it is logged, and no further log line
// or text follows.
func (s *Session) StartTLS(ctx context.Context, soFar Resumption) error {
	return s.handshake(ctx, true, soFar)
}

// handshake replaces Conn by an encrypted one.
func (s *Session) handshake(ctx context.Context, startTLS bool, soFar Resumption) error {
	conn, variables, err := s.acceptTLS(s.within(s.limited(ctx), s.Config.HandshakeTimeout), startTLS, soFar)
	if err != nil {
		return s.tlsFailed(err)
	}
	s.SetConn(conn)
	s.Settings = maps.Clone(s.Settings)
	tlsfiles.ClearVariables(s.Settings)
	maps.Copy(s.Settings, variables)
	if startTLS {
		s.Settings[s.setting("_TLS")] = "1"
		s.Settings[s.setting("_STARTTLS")] = "NO"
		s.Settings[s.setting("_TLS_REQUIRED")] = "0"
	}
	return nil
}

func (s *Session) tlsFailed(err error) error {
	s.logTLSFailed(err)
	return fmt.Errorf("%w: TLS: %w", ErrEnd, err)
}

// ExternalName is the login name that the client's certificate proves by way of TLS_EXTERNAL; "" when EXTERNAL is not to
// be offered.
func (s *Session) ExternalName() string {
	if !s.TLS {
		return ""
	}
	return tlsfiles.External(s.Settings)
}

func (s *Session) tlsOptions(startTLS bool) tlsfiles.Options {
	return tlsfiles.Options{
		Settings: s.Settings,
		LocalIP:  s.Peer.LocalIP,
		StartTLS: startTLS,
		Warn:     s.Log.Warnf,
	}
}
