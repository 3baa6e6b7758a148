package record

import (
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"

	"mailproxy/relay/internal/pump"
)

// Content types (RFC 8446 section 5.1).
const (
	typeCCS       = 20
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
)

const (
	headerLen  = 5
	maxSecret  = 48
	rekeyAfter = 1 << 24 // records under one AES-GCM key at most (RFC 8446 section 5.5)
)

// ErrTruncated is a TLS stream that ends without close_notify: it may have been cut (RFC 8446 section 6.1).
var ErrTruncated = pump.ErrTruncated

// Errors of Open.
var (
	ErrRecord = errors.New("bad TLS record")
	ErrAlert  = errors.New("TLS alert")
)

// half is one direction. What is derived from secret is made when it is needed and dropped by Rest.
type half struct {
	secret [maxSecret]byte // TLS 1.3: the traffic secret; TLS 1.2: key and implicit nonce
	n      uint8           // its length
	seq    uint64
	aead   cipher.AEAD
	iv     []byte
}

// Codec is a pump.Codec: it opens what the peer sealed and seals what is for the peer. It is for use by one goroutine at a time.
type Codec struct {
	version, id uint16
	skip        uint32 // bytes left of a handshake message that is ignored
	asked       bool   // the peer wants us to change our key, which comes with the next record
	in, out     half
}

// arm makes the cipher of one direction.
func (c *Codec) arm(h *half) error {
	if h.aead != nil {
		return nil
	}
	s, err := find(c.version, c.id)
	if err != nil {
		return err
	}
	secret := h.secret[:h.n]
	key := secret[:min(s.keyLen, len(secret))]
	h.iv = secret[len(key):]
	if c.version == tls.VersionTLS13 {
		if key, err = expandLabel(s.hash, secret, "key", s.keyLen); err != nil {
			return err
		}
		if h.iv, err = expandLabel(s.hash, secret, "iv", s.ivLen); err != nil {
			return err
		}
	}
	h.aead, err = s.aead(key)
	return err
}

// Rest gives back what an idle connection does not need.
func (c *Codec) Rest() {
	c.in.aead, c.in.iv, c.out.aead, c.out.iv = nil, nil, nil, nil
}

// Armed reports whether Rest has something to give back.
func (c *Codec) Armed() bool { return c.in.aead != nil || c.out.aead != nil }

// next moves one direction to its next traffic secret (RFC 8446 section 7.2).
func (c *Codec) next(h *half) error {
	s, err := find(c.version, c.id)
	if err != nil {
		return err
	}
	secret, err := expandLabel(s.hash, h.secret[:h.n], "traffic upd", int(h.n))
	if err != nil {
		return err
	}
	copy(h.secret[:], secret)
	h.seq, h.aead, h.iv = 0, nil, nil
	return nil
}

// nonce returns the nonce of the next record, and for AES-GCM in TLS 1.2 how many of its bytes are on the wire.
func (c *Codec) nonce(h *half, explicit []byte) (n [12]byte) {
	if len(h.iv) == 4 { // RFC 5288 section 3
		copy(n[:], h.iv)
		copy(n[4:], explicit)
		return n
	}
	binary.BigEndian.PutUint64(n[4:], h.seq)
	for i := range n {
		n[i] ^= h.iv[i]
	}
	return n
}

// Split tells how long the first record of raw is, header included; 0 when raw does not hold all of it.
func (c *Codec) Split(raw []byte) (int, error) {
	if len(raw) < headerLen {
		return 0, nil
	}
	n := headerLen + int(binary.BigEndian.Uint16(raw[3:]))
	if raw[0] < typeCCS || raw[0] > typeData || raw[1] != 3 || raw[2] != 3 || n > pump.MaxRecord {
		return 0, fmt.Errorf("%w: header %x", ErrRecord, raw[:headerLen])
	}
	if len(raw) < n {
		return 0, nil
	}
	return n, nil
}

// Open decrypts one whole record in place. data is what it carries for the application (a part of rec, empty for other
// records); ended is the peer's close_notify.
func (c *Codec) Open(rec []byte) (data []byte, ended bool, err error) {
	kind, plain, err := c.open(rec)
	if err != nil {
		return nil, false, err
	}
	switch kind {
	case typeData:
		if c.skip > 0 {
			return nil, false, fmt.Errorf("%w: data inside a handshake message", ErrRecord)
		}
		return plain, false, nil
	case typeAlert:
		if len(plain) != 2 {
			return nil, false, fmt.Errorf("%w: alert of %d bytes", ErrRecord, len(plain))
		}
		switch {
		case plain[1] == 0:
			return nil, true, nil
		case plain[1] == 90, c.version == tls.VersionTLS12 && plain[0] == 1: // user_canceled, warnings
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("%w: %w", ErrAlert, tls.AlertError(plain[1]))
	case typeHandshake:
		return nil, false, c.handshake(plain)
	}
	return nil, false, fmt.Errorf("%w: type %d", ErrRecord, kind)
}

// open decrypts a record and returns its true type.
func (c *Codec) open(rec []byte) (kind byte, plain []byte, err error) {
	h := &c.in
	if err := c.arm(h); err != nil {
		return 0, nil, err
	}
	kind, body := rec[0], rec[headerLen:]
	var explicit []byte
	if len(h.iv) == 4 {
		if len(body) < 8 {
			return 0, nil, fmt.Errorf("%w: too short", ErrRecord)
		}
		explicit, body = body[:8], body[8:]
	}
	if len(body) < h.aead.Overhead() {
		return 0, nil, fmt.Errorf("%w: too short", ErrRecord)
	}
	nonce := c.nonce(h, explicit)
	ad := rec[:headerLen]
	if c.version == tls.VersionTLS12 {
		ad = additional12(h.seq, kind, len(body)-h.aead.Overhead())
	} else if kind != typeData {
		return 0, nil, fmt.Errorf("%w: type %d in clear", ErrRecord, kind)
	}
	plain, err = h.aead.Open(body[:0], nonce[:], body, ad)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: does not authenticate", ErrRecord)
	}
	h.seq++
	if c.version == tls.VersionTLS13 {
		n := len(plain)
		for n > 0 && plain[n-1] == 0 { // padding (RFC 8446 section 5.4)
			n--
		}
		if n == 0 {
			return 0, nil, fmt.Errorf("%w: no type", ErrRecord)
		}
		kind, plain = plain[n-1], plain[:n-1]
	}
	if len(plain) > pump.MaxPlain {
		return 0, nil, fmt.Errorf("%w: too long", ErrRecord)
	}
	return kind, plain, nil
}

// additional12 is the additional data of TLS 1.2 (RFC 5246 section 6.2.3.3).
func additional12(seq uint64, kind byte, n int) []byte {
	ad := binary.BigEndian.AppendUint64(make([]byte, 0, 13), seq)
	return append(ad, kind, 3, 3, byte(n>>8), byte(n))
}

// handshake handles messages after the handshake: session tickets (for a client) are ignored, key updates are followed.
func (c *Codec) handshake(p []byte) error {
	if c.version == tls.VersionTLS12 {
		if len(p) == 4 && p[0] == 0 { // HelloRequest: may be ignored (RFC 5246 section 7.4.1.1)
			return nil
		}
		return fmt.Errorf("%w: renegotiation", ErrRecord)
	}
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(int(c.skip), len(p))
			c.skip -= uint32(n)
			p = p[n:]
			continue
		}
		if len(p) < 4 {
			return fmt.Errorf("%w: handshake message cut", ErrRecord)
		}
		kind, n := p[0], uint32(p[1])<<16|uint32(p[2])<<8|uint32(p[3])
		p = p[4:]
		switch {
		case kind == 4: // NewSessionTicket
			c.skip = n
		case kind == 24 && n == 1 && len(p) == 1 && p[0] <= 1: // KeyUpdate is the last of its record (section 5.1)
			c.asked = c.asked || p[0] == 1
			return c.next(&c.in)
		default:
			return fmt.Errorf("%w: handshake message %d", ErrRecord, kind)
		}
	}
	return nil
}

// Seal appends p to dst as records.
func (c *Codec) Seal(dst, p []byte) ([]byte, error) {
	var err error
	if c.version == tls.VersionTLS13 && (c.asked || c.out.seq >= rekeyAfter) {
		if dst, err = c.seal(dst, typeHandshake, []byte{24, 0, 0, 1, 0}); err != nil {
			return dst, err
		}
		c.asked = false
		if err := c.next(&c.out); err != nil {
			return dst, err
		}
	}
	for len(p) > 0 {
		n := min(len(p), pump.MaxPlain)
		if dst, err = c.seal(dst, typeData, p[:n]); err != nil {
			return dst, err
		}
		p = p[n:]
	}
	return dst, nil
}

// Asked reports that the peer waits for a key update, which Seal sends before its data, even without data.
func (c *Codec) Asked() bool { return c.asked }

// SealEnd appends a close_notify alert.
func (c *Codec) SealEnd(dst []byte) ([]byte, error) { return c.seal(dst, typeAlert, []byte{1, 0}) }

// seal appends one record.
func (c *Codec) seal(dst []byte, kind byte, p []byte) ([]byte, error) {
	h := &c.out
	if err := c.arm(h); err != nil {
		return dst, err
	}
	start := len(dst)
	dst = append(dst, typeData, 3, 3, 0, 0)
	if c.version == tls.VersionTLS13 {
		n := len(p) + 1 + h.aead.Overhead()
		dst[start+3], dst[start+4] = byte(n>>8), byte(n)
		body := len(dst)
		dst = append(append(dst, p...), kind)
		nonce := c.nonce(h, nil)
		dst = h.aead.Seal(dst[:body], nonce[:], dst[body:], dst[start:body])
	} else {
		var explicit []byte
		if len(h.iv) == 4 {
			dst = binary.BigEndian.AppendUint64(dst, h.seq) // never repeats under one key, as RFC 5288 asks
			explicit = dst[start+headerLen:]
		}
		body := len(dst)
		nonce := c.nonce(h, explicit)
		dst = h.aead.Seal(dst, nonce[:], p, additional12(h.seq, kind, len(p)))
		dst[start] = kind
		n := len(dst) - body + len(explicit)
		dst[start+3], dst[start+4] = byte(n>>8), byte(n)
	}
	h.seq++
	return dst, nil
}
