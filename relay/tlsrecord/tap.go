package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
)

// tap stands between crypto/tls and the connection. It lets crypto/tls read no further than the end of a
// record, so that what follows is still in the connection after Detach; counts records; and is the
// KeyLogWriter that records the secrets, which never leave this process but by Codec.Marshal.
type tap struct {
	net.Conn
	client bool // our side made the connection

	secrets map[string][]byte // by key-log label
	random  []byte            // the client's, from the key log
	server  []byte            // the server's, from its hello

	rec     []byte // the record being read, or the last one
	need    int    // length of rec when complete; 0 before its header is
	inSeq   uint64
	in12    bool     // TLS 1.2: the peer's ChangeCipherSpec was read
	early   [][]byte // records written in the handshake
	outSeq  uint64
	settled bool // established was called
	cut     bool // reads are over
	free    bool // detaching is out of the question: pass everything
	taken   *Detached
}

// newTap returns a tap on conn for tls.Server or, with client, tls.Client.
func newTap(conn net.Conn, client bool) *tap {
	return &tap{Conn: conn, client: client, secrets: make(map[string][]byte)}
}

// configure makes cfg, which serves this one connection, tell its secrets to the tap. A key log that was
// asked for by somebody else still gets them.
func (t *tap) configure(cfg *tls.Config) {
	w := io.Writer((*keyLog)(t))
	if cfg.KeyLogWriter != nil {
		w = io.MultiWriter(w, cfg.KeyLogWriter)
	}
	cfg.KeyLogWriter = w
}

type keyLog tap

// Write takes one line: label, client random, secret, the last two in hexadecimal.
func (k *keyLog) Write(line []byte) (int, error) {
	f := bytes.Fields(line)
	if len(f) != 3 {
		return len(line), nil
	}
	label := string(f[0])
	random, rerr := hex.DecodeString(string(f[1]))
	secret, serr := hex.DecodeString(string(f[2]))
	if rerr == nil && serr == nil {
		switch label {
		case "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "CLIENT_RANDOM":
			k.random = random
			k.secrets[label] = secret
		}
	}
	return len(line), nil
}

// errCut is what crypto/tls reads when the tap is cut: temporary, so that it forgets it again.
type errCut struct{}

func (errCut) Error() string   { return "detached" }
func (errCut) Timeout() bool   { return true }
func (errCut) Temporary() bool { return true }
func (errCut) Unwrap() error   { return os.ErrDeadlineExceeded }

// Read reads no further than the end of the record's header or of the record.
func (t *tap) Read(p []byte) (int, error) {
	switch {
	case t.cut:
		return 0, errCut{}
	case t.free || len(p) == 0:
		return t.Conn.Read(p)
	}
	if t.need > 0 && len(t.rec) == t.need {
		t.rec, t.need = t.rec[:0], 0
	}
	left := headerLen - len(t.rec)
	if t.need > 0 {
		left = t.need - len(t.rec)
	}
	n, err := t.Conn.Read(p[:min(len(p), left)])
	t.rec = append(t.rec, p[:n]...)
	if t.need == 0 && len(t.rec) == headerLen {
		t.need = headerLen + int(binary.BigEndian.Uint16(t.rec[3:]))
	}
	if n > 0 && len(t.rec) == t.need {
		t.got()
	}
	return n, err
}

// got counts a record that was read.
func (t *tap) got() {
	if t.settled || t.in12 {
		t.inSeq++
	}
	switch {
	case t.rec[0] == typeCCS && !t.settled:
		t.in12, t.inSeq = true, 0
	case t.client && t.rec[0] == typeHandshake && t.server == nil:
		t.server = serverRandom(t.rec)
	}
}

// Write expects whole records, which is what crypto/tls writes.
func (t *tap) Write(p []byte) (int, error) {
	if t.taken != nil { // tls.Conn.Close would send an alert into what others carry on
		return 0, net.ErrClosed
	}
	for raw := p; len(raw) > 0 && !t.free; {
		if len(raw) < headerLen || len(raw) < headerLen+int(binary.BigEndian.Uint16(raw[3:])) {
			t.release()
			break
		}
		rec := raw[:headerLen+int(binary.BigEndian.Uint16(raw[3:]))]
		raw = raw[len(rec):]
		if t.settled {
			t.outSeq++
			continue
		}
		if !t.client && rec[0] == typeHandshake && t.server == nil {
			t.server = serverRandom(rec)
		}
		t.early = append(t.early, bytes.Clone(rec))
	}
	return t.Conn.Write(p)
}

// serverRandom reads the random number of a ServerHello (RFC 5246 section 7.4.1.3), nil where there is none.
func serverRandom(rec []byte) []byte {
	if len(rec) < headerLen+6+32 || rec[headerLen] != 2 {
		return nil
	}
	return bytes.Clone(rec[headerLen+6 : headerLen+6+32])
}

// CloseWrite ends the stream below TLS.
func (t *tap) CloseWrite() error {
	if c, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the connection below.
func (t *tap) NetConn() net.Conn { return t.Conn }

// release gives up: crypto/tls keeps the connection, and the tap stands aside.
func (t *tap) release() {
	t.free, t.cut, t.rec, t.early, t.secrets = true, false, nil, nil, nil
}
