package main

import "mailproxy/internal/frontend"

// program returns what makes a front end a POP3 one.
func program() *frontend.Program {
	return &frontend.Program{
		Name:           "pop3d-proxy",
		Protocol:       protocol(),
		WrongArguments: "-ERR pop3d-proxy requires exactly two arguments.",
		Unavailable:    replyTemporary,
		Serve:          serve,
		Capabilities:   func(s *frontend.Session) []string { return (&dialogue{s: s}).capabilities() },
	}
}

func protocol() *frontend.Protocol {
	return &frontend.Protocol{
		Name:    "POP3",
		Service: "pop3",
		Port:    "110",
		TLSPort: "995",
		TLSWord: "stls",
		// courierpop3d reads its standard input with plain read calls and takes EAGAIN for the end.
		NonBlocking: false,
		Login:       loginMailhost,
	}
}
