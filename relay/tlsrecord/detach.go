package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
)

// Detached is a TLS connection without crypto/tls. The bytes that follow are still in the connection below.
type Detached struct {
	Codec *Codec
	Plain []byte // decrypted already and not yet read by anybody
	Raw   []byte // the beginning of a record that has not wholly arrived
	Ended bool   // close_notify has been received
}

// established is called once, right after a successful handshake and before anything is read or written.
func (t *tap) established(c *tls.Conn) {
	if t.settled || t.free {
		return
	}
	t.settled = true
	cs := c.ConnectionState()
	if cs.Version == tls.VersionTLS13 {
		t.inSeq = 0
		t.outSeq = t.ticketsSent(&cs)
	} else {
		t.outSeq = 0
		for i := len(t.early) - 1; i >= 0 && t.early[i][0] != typeCCS; i-- {
			t.outSeq++
		}
	}
	t.early = nil
	if len(t.rec) == t.need {
		t.rec, t.need = nil, 0
	}
}

// ticketsSent tells how many of the handshake's records were sealed with the key for application data:
// session tickets, which a server may send before or after it has seen the client's Finished.
func (t *tap) ticketsSent(cs *tls.ConnectionState) uint64 {
	c, err := t.codec(cs)
	if err != nil {
		return 0
	}
	c.in, c.client = c.out, true // what we have written is read here
	for i, rec := range t.early {
		c.in.seq, c.in.aead = 0, nil
		if _, _, err := c.open(bytes.Clone(rec)); err == nil {
			return uint64(len(t.early) - i)
		}
	}
	return 0
}

// codec makes a Codec of what was recorded.
func (t *tap) codec(cs *tls.ConnectionState) (*Codec, error) {
	s, err := find(cs.Version, cs.CipherSuite)
	if err != nil {
		return nil, err
	}
	client, server := t.secrets["CLIENT_TRAFFIC_SECRET_0"], t.secrets["SERVER_TRAFFIC_SECRET_0"]
	if cs.Version == tls.VersionTLS12 {
		master := t.secrets["CLIENT_RANDOM"]
		if len(master) != 48 || len(t.random) != 32 || len(t.server) != 32 {
			return nil, fmt.Errorf("%w: master secret unknown", errUnfit)
		}
		client, server = keyBlock12(&s, master, t.random, t.server)
	} else if n := s.hash().Size(); len(client) != n || len(server) != n {
		return nil, fmt.Errorf("%w: traffic secrets unknown", errUnfit)
	}
	in, out := client, server
	if t.client {
		in, out = server, client
	}
	c := &Codec{version: cs.Version, id: cs.CipherSuite, client: t.client}
	c.in.n, c.out.n = uint8(copy(c.in.secret[:], in)), uint8(copy(c.out.secret[:], out))
	c.in.seq, c.out.seq = t.inSeq, t.outSeq
	return c, nil
}

// CanDetach reports whether Detach would succeed on a sound connection: nil, or errUnfit with the reason.
func (t *tap) CanDetach(c *tls.Conn) error {
	if t.taken != nil {
		return nil
	}
	_, err := t.ready(c)
	return err
}

func (t *tap) ready(c *tls.Conn) (*Codec, error) {
	if !t.settled || t.free {
		return nil, errUnfit
	}
	cs := c.ConnectionState()
	codec, err := t.codec(&cs)
	if err != nil {
		return nil, err
	}
	return codec, t.check(codec)
}

// Detach returns what another party needs to go on with c, which stands on this tap. From then on c must
// not be used, unless restore is called before anybody has used the state. After errUnfit c goes on as if
// nothing had happened. Called again, it returns the same state.
func (t *tap) Detach(c *tls.Conn) (*Detached, error) {
	if t.taken != nil {
		return t.taken, nil
	}
	codec, err := t.ready(c)
	if err != nil {
		t.release()
		return nil, err
	}
	d := &Detached{Codec: codec}
	if len(t.rec) < t.need || t.need == 0 {
		d.Raw = bytes.Clone(t.rec)
	}
	t.cut = true
	for buf := make([]byte, maxPlain); ; {
		n, err := c.Read(buf)
		d.Plain = append(d.Plain, buf[:n]...)
		switch {
		case err == nil:
			continue
		case errors.Is(err, errCut{}):
		case errors.Is(err, io.EOF):
			d.Ended = true
		default:
			return nil, fmt.Errorf("detaching: %w", err)
		}
		t.taken = d
		return d, nil
	}
}

// restore gives the connection back to crypto/tls after a Detach that came to nothing. Detached.Plain,
// which crypto/tls takes for read, is the caller's to deliver.
func (t *tap) restore() { t.cut, t.taken = false, nil }

// check opens the last record that crypto/tls has read once more: keys and counters are right, and the peer
// has not changed its key.
func (t *tap) check(codec *Codec) error {
	if t.need == 0 || len(t.rec) < t.need {
		// A record has begun, the last whole one is gone. With nothing read so far there is nothing to check.
		if t.inSeq > 0 && (codec.version == tls.VersionTLS13 || t.inSeq > 1) {
			return fmt.Errorf("%w: in the middle of a record", errUnfit)
		}
		return nil
	}
	probe := *codec
	probe.in.seq--
	kind, plain, err := probe.open(bytes.Clone(t.rec))
	ticket := kind == typeHandshake && len(plain) > 0 && plain[0] == 4
	if err != nil || kind != typeData && kind != typeAlert && !ticket {
		return fmt.Errorf("%w: keys have changed", errUnfit)
	}
	return nil
}
