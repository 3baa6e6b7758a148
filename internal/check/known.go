package check

// known holds the settings that the front ends read, with what counts when they are not set. Empty = nothing, or see
// the manual page. Settings of both programs are here: the files of a machine are often read together.
var known = map[string]string{
	// The dialogue.
	"IMAP_CAPABILITY": "IMAP4rev1", "IMAP_CAPABILITY_TLS": "", "IMAP_ACL": "0", "IMAP_ID_FIELDS": "", "OUTBOX": "",
	"IMAP_MOVE_EXPUNGE_TO_TRASH": "0",
	"POP3AUTH":                   "", "POP3AUTH_TLS": "",
	"LOGIN_TIMEOUT": "60", "LOGIN_MAX_COMMANDS": "100", "LOGIN_FAIL_DELAY": "5", "LOGIN_FAIL_DELAY_MAX": "30",
	"THROTTLE_FILE": "", "MAXUNAUTHPERIP": "0",

	// Names and the auth module.
	"DEFDOMAIN": "", "DOMAINSEP": "", "AUTHDAEMON_SOCKET": "", "AUTHDAEMON_USER": "", "AUTHDAEMON_PROGRAM": "", "AUTHDAEMON_CONFIG": "/etc/courier",
	"TIMEOUT_SOCK": "10", "TIMEOUT_WRITE": "10", "TIMEOUT_READ": "30", "DEBUG_LOGIN": "0",

	// Here or there.
	"IMAP_PROXY": "0", "POP3_PROXY": "0", "IMAP_PROXY_FOREIGN": "0", "PROXY_HOSTNAME": "", "PROXY_MAILHOSTS": "",
	"PROXY_CONNECT_TIMEOUT": "30", "PROXY_LOGIN_TIMEOUT": "30", "PROXY_KEEPALIVE": "300", "PROXY_HALFCLOSE_TIMEOUT": "300", "PROXY_USER": "",
	"PROXY_TLS": "NO", "PROXY_TLS_VERIFYPEER": "PEER", "PROXY_TLS_TRUSTCERTS": "",
	"PROXY_MASTER_USER": "", "PROXY_MASTER_PASSWORD_FILE": "", "PROXY_FORWARD_CLIENT": "NO",
	"RELAY_SOCKET": "", "RELAY_USER": "mailproxy", "AUTH_MKHOMEDIR_SKEL": "", "LOCAL_ULIMIT_V": "unlimited",

	// The client's connection.
	"HAPROXY": "0", "HAPROXY_ALLOW": "127.0.0.0/8 ::1",
	"IMAP_STARTTLS": "NO", "IMAPDSTARTTLS": "NO", "POP3_STARTTLS": "NO", "IMAP_TLS": "0", "POP3_TLS": "0",
	"IMAP_TLS_REQUIRED": "0", "POP3_TLS_REQUIRED": "0",
	"TLS_CERTFILE": "", "TLS_PRIVATE_KEYFILE": "", "TLS_PROTOCOL": "", "TLS_STARTTLS_PROTOCOL": "",
	"TLS_CIPHER_LIST": "", "TLS_TRUSTCERTS": "", "TLS_VERIFYPEER": "NONE", "TLS_EXTERNAL": "", "TLS_ALPN": "",
	"TLS_CACHEFILE": "", "TLS_HANDSHAKE_TIMEOUT": "30", "IMAP_UMASK": "", "POP3_UMASK": "",

	// From the launcher.
	"TCPREMOTEIP": "", "TCPREMOTEPORT": "", "TCPLOCALIP": "", "TCPLOCALPORT": "", "REMOTE_ADDR": "", "REMOTE_PORT": "",
}

// ignored holds settings of Courier's files that mean nothing to the front ends, with the reason.
var ignored = map[string]string{
	"SMAP_CAPABILITY":  "Courier's SMAP protocol is not spoken here",
	"SMAP1_CAPABILITY": "Courier's SMAP protocol is not spoken here",
	"COURIERTLS":       "TLS is our own; no other program is started for it",
	"TLS_DHPARAMS":     "finite-field Diffie-Hellman is not used",
	"TLS_CACHESIZE":    "sessions are resumed from tickets, whose keys are in TLS_CACHEFILE.keys",
	"TLS_PRIORITY":     "it is GnuTLS's; TLS_CIPHER_LIST takes OpenSSL's names",
	"RELAY_TLS":        "it no longer has a meaning: front ends make their TLS handshakes themselves",
	"TLS_COMPRESSION":  "TLS compression is not safe and not offered",
}

// others are settings of the launcher's script and of the local server. They are passed on and need no word.
var others = map[string]bool{
	"ADDRESS": true, "PORT": true, "SSLADDRESS": true, "SSLPORT": true, "MAXDAEMONS": true, "MAXPERIP": true,
	"PIDFILE": true, "SSLPIDFILE": true, "TCPDOPTS": true, "LOGGEROPTS": true, "SSLLOGGEROPTS": true,
	"IMAPDSTART": true, "IMAPDSSLSTART": true, "POP3DSTART": true, "POP3DSSLSTART": true, "MAILDIRPATH": true,
	"IMAPACCESSFILE": true, "POP3ACCESSFILE": true, "IMAP_ULIMITD": true, "IMAP_CAPABILITY_ORIG": true,
	"IMAP_CAPABILITY_TLS_ORIG": true, "IMAP_KEYWORDS": true, "IMAP_CHECK_ALL_FOLDERS": true,
	"IMAP_DISABLETHREADSORT": true, "IMAP_EMPTYTRASH": true, "IMAP_ENHANCEDIDLE": true, "IMAP_IDLE_TIMEOUT": true,
	"IMAP_MAILBOX_SANITY_CHECK": true, "IMAP_OBSOLETE_CLIENT": true, "IMAP_SHAREDINDEXFILE": true,
	"IMAP_TRASHFOLDERNAME": true, "IMAP_USELOCKS": true, "IMAP_LOG_DELETIONS": true,
	"MIME_UNICODE_MESSAGE_TYPE": true, "HEADERFROM": true, "SENDMAIL": true, "TCPLOCALHOST": true, "TCPREMOTEHOST": true,
	"POP3AUTH_ORIG": true, "POP3AUTH_TLS_ORIG": true, "POP3_ULIMITD": true, "POP3_LOG_DELETIONS": true,
	"TLS_CONNECTED_PROTOCOL": true, "IMAPDSSLSTART_ORIG": true,
}
