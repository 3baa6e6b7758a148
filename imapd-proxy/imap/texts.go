package imap

const crlf = "\r\n"

// What clients read. The words are Courier's wherever a program may look at them; the codes are RFC 5530's.
const (
	textReady      = "imapd-proxy ready."
	textError      = "BAD Error in IMAP command received by server."
	textMechanism  = "NO Login failed." // without a code: nobody's password was wrong
	textTooLong    = "NO [ALERT] IMAP command too long."
	textLiteral    = "+ OK"
	textViolations = "[ALERT] Fatal error: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS: "
	textCommands   = "[ALERT] Fatal error: too many commands without a login"
	textFlood      = "[ALERT] Fatal error: literal too long"
	textLoggingOut = "Courier-IMAP server shutting down"
	textShutdown   = "Courier-IMAP server shut down by signal."
	textTimeout    = "Too much time without a login"
	textTemporary  = "Temporary problem, please try again later"
	textNeedTLS    = "NO [PRIVACYREQUIRED] STARTTLS required"
	textRefused    = "NO [AUTHENTICATIONFAILED] Login failed."
	textBusy       = "NO [UNAVAILABLE] " + textTemporary
	textProxied    = "connected to proxy server."
)

// denial is the tagged answer to a client that is who it says and is not let in: the response code with our
// own words.
func denial(code string) string {
	const postmaster = ", please call the postmaster"
	text := "The mailbox cannot be opened" + postmaster
	switch code {
	case "AUTHENTICATIONFAILED":
		return textRefused
	case "UNAVAILABLE":
		return textBusy
	case "PRIVACYREQUIRED":
		return textNeedTLS
	case "AUTHORIZATIONFAILED", "NOPERM":
		text = "The mail server does not allow this login" + postmaster
	case "EXPIRED":
		text = "The password has expired"
	case "INUSE":
		text = "Mailbox is in use, please try again later"
	case "LIMIT":
		text = "A limit does not allow this login, please try again later"
	case "OVERQUOTA":
		text = "The mailbox is full"
	}
	return "NO [" + code + "] " + text
}
