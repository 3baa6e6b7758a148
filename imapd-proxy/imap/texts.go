package imap

const crlf = "\r\n"

// What clients read. The words are Courier's wherever a program may look at them; the codes are RFC 5530's.
const (
	textReady      = "imapd-proxy ready."
	textError      = "NO Error in IMAP command received by server."
	textTooLong    = "NO [ALERT] IMAP command too long."
	textLiteral    = "+ OK"
	textViolations = "[ALERT] Fatal error: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS: "
	textCommands   = "[ALERT] Fatal error: too many commands without a login"
	textFlood      = "[ALERT] Fatal error: literal too long"
	textLoggingOut = "Courier-IMAP server shutting down"
	textShutdown   = "Courier-IMAP server shut down by signal."
	textTimeout    = "Too much time without a login"
	textTemporary  = "Temporary problem, please try again later"
	textNeedTLS    = "NO STARTTLS required"
	textRefused    = "NO [AUTHENTICATIONFAILED] Login failed."
	textBusy       = "NO [UNAVAILABLE] " + textTemporary
	textProxied    = "connected to proxy server."
)
