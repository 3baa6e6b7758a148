package pop3

const crlf = "\r\n"

// What clients read. The words are Courier's wherever a program may look at them; the codes in brackets are
// those of RFC 2449 section 8 and RFC 3206.
const (
	textReady       = "+OK Hello there."
	textError       = "-ERR Invalid command."
	textMechanism   = "-ERR " + textAuthFailed // without a code: nobody's password was wrong
	textAborted     = "-ERR Authentication aborted."
	textTooLong     = "-ERR Line too long."
	textViolations  = "-ERR Too many invalid commands."
	textCommands    = "-ERR Too many commands without a login."
	textLoggingOut  = "+OK Better luck next time."
	textShutdown    = "-ERR [SYS/TEMP] Server shut down by signal, please try again later"
	textTemporary   = "-ERR [SYS/TEMP] Temporary problem, please try again later"
	textNeedTLS     = "-ERR TLS required to log in."
	textProxied     = "+OK Connected to proxy server."
	textLoginFailed = "Login failed."          // PASS
	textAuthFailed  = "Authentication failed." // AUTH
)

// denial is the answer to a client that is who it says and is not let in: the response code with our own
// words, failed where it is the code of a wrong password. No code means that the login needs TLS, for which
// there is none.
func denial(code, failed string) string {
	switch code {
	case "":
		return textNeedTLS
	case "AUTH":
		return "-ERR [AUTH] " + failed
	case "IN-USE":
		return "-ERR [IN-USE] Mailbox is in use, please try again later"
	case "LOGIN-DELAY":
		return "-ERR [LOGIN-DELAY] Too many logins, please try again later"
	case "SYS/PERM":
		return "-ERR [SYS/PERM] Mail server cannot open the mailbox, please call the postmaster"
	}
	return textTemporary
}
