package frontend

// Program is what makes imapd-proxy and pop3d-proxy different programs.
type Program struct {
	// Name is the program's name: --version, syslog.
	Name     string
	Protocol *Protocol
	// WrongArguments is what a client reads when the program was started with other than two arguments, a
	// whole line without its end.
	WrongArguments string
}
