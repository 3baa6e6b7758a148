package relay

import (
	"context"
	"errors"
	"net"
	"time"
)

// Session is a session that is logged in: two connections to be joined, and the facts about them.
type Session struct {
	// Client and Mailhost are *net.TCPConn, *net.UnixConn, or a TLS connection on one that is a
	// tlsrecord.Detacher; any other connection with a CloseWrite method by way of package pump. Deadlines must
	// be off.
	Client, Mailhost net.Conn
	Info             Info
	// First is what the client is sent before anything of the mailhost's: the answer to its login. It is
	// not counted.
	First []byte
	// Accepted, if not nil, is called once, in this process, when a Carrier has taken the session: it logs
	// the login. relayd may have moved bytes by then.
	Accepted func()
	// KeepAlive is the idle time before TCP keepalive probes on both sides; 0 = off.
	KeepAlive time.Duration
	// HalfClose is how long a session may go on without a byte moved after one side has ended; 0 =
	// DefaultHalfClosed.
	HalfClose time.Duration
}

// Carrier takes sessions over.
type Carrier interface {
	// Carry returns nil when the session is the carrier's: it sends First, joins both connections until the
	// session is over, closes them, and writes the LOGOUT line; the caller must not use them any more, but
	// may close them.
	//
	// After an error the session is still wholly the caller's, nothing has been written to either connection,
	// and both can be used as before. It is ErrLimit if the session would exceed a limit of the
	// administrator's: the caller refuses the client. Otherwise it is ErrUnavailable: another carrier may
	// take the session. ctx limits the hand-over alone, not the session.
	Carry(ctx context.Context, s *Session) error
}

// ErrKicked and ErrStopped are why a session ended that its peers did not end.
var (
	ErrKicked  = errors.New("ended by the administrator")
	ErrStopped = errors.New("the program is ending")
)
