package frontend

import "time"

// Config is the settings that this package uses, read and checked once at the start.
type Config struct {
	// LoginTimeout (LOGIN_TIMEOUT, 60 s) is the time a client has from connecting to having logged in.
	LoginTimeout time.Duration
	// ConnectTimeout (PROXY_CONNECT_TIMEOUT, 30 s) is for each address of a mailhost.
	ConnectTimeout time.Duration
	// MailhostTimeout (PROXY_LOGIN_TIMEOUT, 30 s) is for the dialogue with a mailhost, from its greeting to its answer.
	MailhostTimeout time.Duration
	// Keepalive (PROXY_KEEPALIVE, 300 s; 0 = off) is the TCP keepalive time of both sides of a relayed session.
	Keepalive time.Duration
	// FailDelay (LOGIN_FAIL_DELAY, 5 s) is waited before a failed login is answered.
	FailDelay time.Duration
}
