package relay_test

import (
	"context"
	"errors"
	"testing"

	"mailproxy/relay"
	"mailproxy/relay/relaytest"
)

func TestHalfClosed(t *testing.T) {
	join := func(t testing.TB, client, mailhost relay.Conn) func() {
		done := make(chan error, 1)
		go func() {
			_, err := relay.Join(context.Background(), client, mailhost, relay.Options{HalfClosed: relaytest.HalfClosedLimit})
			client.Close()
			mailhost.Close()
			done <- err
		}()
		return func() {
			if err := <-done; err != nil && !errors.Is(err, relay.ErrHalfClosed) {
				t.Error(err)
			}
		}
	}
	tcp := relaytest.Kinds()[:1]
	copied := []relaytest.Kind{{Name: "copied", Make: func(t testing.TB) (relay.Conn, relay.Conn) {
		near, far := relaytest.TCP(t, 0)
		return hidden{near}, far
	}}}
	relaytest.HalfClosed(t, tcp, tcp, join)
	relaytest.HalfClosed(t, copied, tcp, join)
	relaytest.HalfClosed(t, relaytest.TLSKinds()[:1], tcp, join)
}
