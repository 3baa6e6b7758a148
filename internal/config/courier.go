package config

// ignored are settings of Courier's files, and of former versions, that mean nothing to the front ends.
func ignored() (list []Setting) {
	for _, s := range []struct{ name, why string }{
		{"SMAP_CAPABILITY", "Courier's SMAP protocol is not spoken here"},
		{"SMAP1_CAPABILITY", "Courier's SMAP protocol is not spoken here"},
		{"COURIERTLS", "TLS is our own; no other program is started for it"},
		{"TLS_DHPARAMS", "finite-field Diffie-Hellman is not used"},
		{"TLS_CACHESIZE", "sessions are resumed from tickets, whose keys are in TLS_CACHEFILE.keys"},
		{"RELAY_TLS", "it no longer has a meaning: front ends make their TLS handshakes themselves"},
		{"TLS_COMPRESSION", "TLS compression is not safe and not offered"},
	} {
		list = append(list, Setting{Name: s.name}.ignored(s.why))
	}
	return list
}

// passed are settings of Courier's start scripts and of its local servers.
func passed() (list []Setting) {
	for _, name := range []string{
		"ADDRESS", "PORT", "SSLADDRESS", "SSLPORT", "MAXDAEMONS", "MAXPERIP", "PIDFILE", "SSLPIDFILE",
		"TCPDOPTS", "LOGGEROPTS", "SSLLOGGEROPTS", "IMAPDSTART", "IMAPDSSLSTART", "IMAPDSSLSTART_ORIG",
		"POP3DSTART", "POP3DSSLSTART", "MAILDIRPATH", "IMAPACCESSFILE", "POP3ACCESSFILE", "IMAP_ULIMITD",
		"IMAP_CAPABILITY_ORIG", "IMAP_CAPABILITY_TLS_ORIG", "IMAP_KEYWORDS", "IMAP_CHECK_ALL_FOLDERS",
		"IMAP_DISABLETHREADSORT", "IMAP_EMPTYTRASH", "IMAP_ENHANCEDIDLE", "IMAP_IDLE_TIMEOUT",
		"IMAP_MAILBOX_SANITY_CHECK", "IMAP_OBSOLETE_CLIENT", "IMAP_SHAREDINDEXFILE", "IMAP_TRASHFOLDERNAME",
		"IMAP_USELOCKS", "IMAP_LOG_DELETIONS", "MIME_UNICODE_MESSAGE_TYPE", "HEADERFROM", "SENDMAIL",
		"TCPLOCALHOST", "TCPREMOTEHOST", "POP3AUTH_ORIG", "POP3AUTH_TLS_ORIG", "POP3_ULIMITD",
		"POP3_LOG_DELETIONS", "TLS_CONNECTED_PROTOCOL",
	} {
		list = append(list, Setting{Name: name, Status: Passed})
	}
	return list
}
