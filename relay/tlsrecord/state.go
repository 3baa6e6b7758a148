package tlsrecord

import (
	"encoding/binary"
	"fmt"
)

// stateLen is the length of a marshaled Codec: version, suite, skip, asked, and for each direction length,
// secret, number.
const stateLen = 2 + 2 + 4 + 1 + 2*(1+maxSecret+8)

// Marshal returns the connection's keys and counters, which are secret, for another process to carry on.
// The Codec must not be used any more then.
func (c *Codec) Marshal() []byte {
	b := make([]byte, 0, stateLen)
	b = binary.BigEndian.AppendUint16(b, c.version)
	b = binary.BigEndian.AppendUint16(b, c.id)
	b = binary.BigEndian.AppendUint32(b, c.skip)
	asked := byte(0)
	if c.asked {
		asked = 1
	}
	b = append(b, asked)
	for _, h := range []*half{&c.in, &c.out} {
		b = append(b, h.n)
		b = append(b, h.secret[:]...)
		b = binary.BigEndian.AppendUint64(b, h.seq)
	}
	return b
}

// Unmarshal is the reverse of Marshal; client says that we are the connection's client, which the state
// does not tell.
func Unmarshal(b []byte, client bool) (*Codec, error) {
	if len(b) != stateLen {
		return nil, fmt.Errorf("TLS state of %d bytes", len(b))
	}
	c := &Codec{version: binary.BigEndian.Uint16(b), id: binary.BigEndian.Uint16(b[2:]),
		skip:   binary.BigEndian.Uint32(b[4:]),
		client: client, asked: b[8] == 1}
	b = b[9:]
	for _, h := range []*half{&c.in, &c.out} {
		h.n = b[0]
		copy(h.secret[:], b[1:])
		h.seq = binary.BigEndian.Uint64(b[1+maxSecret:])
		b = b[1+maxSecret+8:]
	}
	s, err := find(c.version, c.id)
	if err != nil {
		return nil, err
	}
	want := s.keyLen + s.ivLen
	if c.version == 0x0304 {
		want = s.hash().Size()
	}
	if int(c.in.n) != want || int(c.out.n) != want {
		return nil, fmt.Errorf("TLS state with secrets of %d and %d bytes", c.in.n, c.out.n)
	}
	return c, nil
}
