package tlsrecord

import (
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
)

// Content types (RFC 8446 section 5.1).
const (
	typeCCS       = 20
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
)

const (
	// maxPlain is the longest plaintext of one record (RFC 8446 section 5.1).
	maxPlain = 16 << 10
	// MaxRecord is the longest record, header included (RFC 5246 allows more expansion than RFC 8446).
	MaxRecord = headerLen + maxPlain + 2048

	headerLen  = 5
	overhead   = headerLen + 8 + 16 + 1
	maxSecret  = 48
	rekeyAfter = 1 << 24 // records under one AES-GCM key at most (RFC 8446 section 5.5)

	// maxEmpty is how many records in a row may carry no data: key updates, empty records, tickets,
	// warnings. Each costs as much as one with data, and a peer that sends nothing else moves no session
	// forward.
	maxEmpty = 16
)

// SealedLen is an upper bound of the length of n bytes when sealed.
func SealedLen(n int) int { return n + (n/maxPlain+3)*overhead }

// half is one direction. What is derived from secret is made when it is needed and dropped by Rest.
type half struct {
	secret [maxSecret]byte // TLS 1.3: the traffic secret; TLS 1.2: key and implicit nonce
	n      uint8           // its length
	seq    uint64
	aead   cipher.AEAD
	iv     []byte
}

// Codec decrypts the records of the peer of a TLS connection, and encrypts those for the peer. It is for use
// by one goroutine at a time.
type Codec struct {
	version, id uint16
	skip        uint32 // bytes left of a handshake message that is ignored
	client      bool   // we are the connection's client
	asked       bool   // the peer wants us to change our key, which comes with the next record
	empty       uint8  // records without data in a row
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

// nonce returns the nonce of the next record, and for AES-GCM in TLS 1.2 how many of its bytes are on the
// wire.
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
	switch {
	case raw[0] < typeCCS || raw[0] > typeData || raw[1] != 3 || raw[2] != 3:
		return 0, bad(tlsUnexpectedMessage, "header %x", raw[:headerLen])
	case n > MaxRecord:
		return 0, bad(tlsRecordOverflow, "%d bytes", n)
	}
	if len(raw) < n {
		return 0, nil
	}
	return n, nil
}

// Open decrypts one whole record in place. data is what it carries for the application (a part of rec, empty
// for other records); ended is the peer's close_notify. After an error (ErrRecord, ErrAlert) only SealAlert
// may be used.
func (c *Codec) Open(rec []byte) (data []byte, ended bool, err error) {
	kind, plain, err := c.open(rec)
	if err != nil {
		return nil, false, err
	}
	if kind == typeData && len(plain) > 0 {
		if c.skip > 0 {
			return nil, false, bad(tlsUnexpectedMessage, "data inside a handshake message")
		}
		c.empty = 0
		return plain, false, nil
	}
	if c.empty++; c.empty > maxEmpty {
		return nil, false, bad(tlsUnexpectedMessage, "%d records in a row without data", c.empty)
	}
	switch kind {
	case typeData:
		return nil, false, nil
	case typeAlert:
		return c.alert(plain)
	case typeHandshake:
		return nil, false, c.handshake(plain)
	}
	return nil, false, bad(tlsUnexpectedMessage, "type %d", kind)
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
			return 0, nil, bad(tlsDecodeError, "too short")
		}
		explicit, body = body[:8], body[8:]
	}
	if len(body) < h.aead.Overhead() {
		return 0, nil, bad(tlsDecodeError, "too short")
	}
	nonce := c.nonce(h, explicit)
	ad := rec[:headerLen]
	if c.version == tls.VersionTLS12 {
		ad = additional12(h.seq, kind, len(body)-h.aead.Overhead())
	} else if kind != typeData {
		return 0, nil, bad(tlsUnexpectedMessage, "type %d in clear", kind)
	}
	plain, err = h.aead.Open(body[:0], nonce[:], body, ad)
	if err != nil {
		return 0, nil, bad(tlsBadRecordMAC, "does not authenticate")
	}
	h.seq++
	if c.version == tls.VersionTLS13 {
		n := len(plain)
		for n > 0 && plain[n-1] == 0 { // padding (RFC 8446 section 5.4)
			n--
		}
		if n == 0 {
			return 0, nil, bad(tlsUnexpectedMessage, "no type")
		}
		kind, plain = plain[n-1], plain[:n-1]
	}
	if len(plain) > maxPlain {
		return 0, nil, bad(tlsRecordOverflow, "too long")
	}
	return kind, plain, nil
}

// additional12 is the additional data of TLS 1.2 (RFC 5246 section 6.2.3.3).
func additional12(seq uint64, kind byte, n int) []byte {
	ad := binary.BigEndian.AppendUint64(make([]byte, 0, 13), seq)
	return append(ad, kind, 3, 3, byte(n>>8), byte(n))
}
