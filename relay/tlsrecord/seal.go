package tlsrecord

import (
	"crypto/tls"
	"encoding/binary"
)

// Seal appends p to dst as records.
func (c *Codec) Seal(dst, p []byte) ([]byte, error) {
	var err error
	if c.version == tls.VersionTLS13 && (c.asked || c.out.seq >= rekeyAfter) {
		if dst, err = c.SealKeyUpdate(dst, false); err != nil {
			return dst, err
		}
	}
	for len(p) > 0 {
		n := min(len(p), maxPlain)
		if dst, err = c.seal(dst, typeData, p[:n]); err != nil {
			return dst, err
		}
		p = p[n:]
	}
	return dst, nil
}

// SealKeyUpdate appends a key update of TLS 1.3 and changes our key; ask wants the peer to change its key,
// too. Seal does so by itself when it is time.
func (c *Codec) SealKeyUpdate(dst []byte, ask bool) ([]byte, error) {
	requested := byte(0)
	if ask {
		requested = 1
	}
	dst, err := c.seal(dst, typeHandshake, []byte{24, 0, 0, 1, requested})
	if err != nil {
		return dst, err
	}
	c.asked = false
	return dst, c.next(&c.out)
}

// Asked reports that the peer waits for a key update, which Seal sends before its data, even without data.
// It is to be answered alone only when nothing else is waiting to be written: a peer that asks and does not
// read would fill memory.
func (c *Codec) Asked() bool { return c.asked }

// SealAlert appends a fatal alert, after which nothing may follow.
func (c *Codec) SealAlert(dst []byte, alert tls.AlertError) ([]byte, error) {
	c.asked = false
	return c.seal(dst, typeAlert, []byte{2, byte(alert)})
}

// SealEnd appends a close_notify alert, after which nothing may follow.
func (c *Codec) SealEnd(dst []byte) ([]byte, error) {
	c.asked = false
	return c.seal(dst, typeAlert, []byte{1, 0})
}

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
