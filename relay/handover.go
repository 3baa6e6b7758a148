package relay

import (
	"context"
	"errors"
)

// ErrUnavailable reports that no relayd took the session: the caller still owns both connections, nothing has been read
// from them, and relays them itself.
var ErrUnavailable = errors.New("relayd unavailable")

// HandOver gives both connections to the relayd that listens on socket and returns when relayd has acknowledged that it
// owns them; the caller then closes its own descriptors and ends. ErrUnavailable (wrapped) in every other case.
func HandOver(ctx context.Context, socket string, client, mailhost Conn, i Info) error {
	return ErrUnavailable
}
