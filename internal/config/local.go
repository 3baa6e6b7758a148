package config

// LocalEnviron is the environment of the local server of an account, by name, as far as it follows from
// settings: all variables that we were given, except those about this process (HOME is root's, LISTEN_* and
// NOTIFY_SOCKET are systemd's). overTLS says that the client's connection is encrypted: the local server must
// not offer STARTTLS then. The caller may change it.
func (c *Config) LocalEnviron(overTLS bool) map[string]string {
	e := c.raw.Texts()
	for _, name := range []string{
		"HOME", "MAILDIR", "MAILDIRQUOTA", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET",
	} {
		delete(e, name)
	}
	if overTLS {
		e[c.protocol.startTLS()], e[c.protocol.tls()], e[c.protocol.tlsRequired()] = "NO", "1", "0"
	}
	return e
}
