package mailhost

import "context"

// Visit is the dialogue of a Login step by step, for a program that explains logins: what Login sends, and
// what it takes for an answer, is the same. The steps are made in this order, some may be left out. The
// caller sets deadlines.
type Visit interface {
	// Greeting reads the greeting, and returns it.
	Greeting(ctx context.Context) (string, error)
	// StartTLS encrypts the connection where Conn.StartTLS is to be called.
	StartTLS(ctx context.Context) error
	// Capabilities returns what the mailhost says it can do, one capability an element, in upper case. It may
	// be asked before the login and after it.
	Capabilities(ctx context.Context) ([]string, error)
	// Login sends name and password as they stand in Conn, in the way that the mailhost takes them.
	Login(ctx context.Context) error
	// Quit says goodbye.
	Quit(ctx context.Context)
}
