package ldap

import (
	"errors"
	"io"
)

// BER as LDAP uses it (RFC 4511 section 5.1): definite lengths, tags of one byte.

// errBER says that what the server sent is not LDAP.
var errBER = errors.New("the server's answer is not LDAP")

// maxMessage bounds one message of the server, in bytes.
const maxMessage = 4 << 20

// Universal tags.
const (
	tagBoolean    = 0x01
	tagInteger    = 0x02
	tagString     = 0x04
	tagEnumerated = 0x0a
	tagSequence   = 0x30
	tagSet        = 0x31
)

// encoder builds a message. Constructed values get the long form of lengths, so that nothing is encoded twice.
type encoder struct{ b []byte }

// open begins a constructed value; close ends it with what open returned.
func (e *encoder) open(tag byte) int {
	e.b = append(e.b, tag, 0x84, 0, 0, 0, 0)
	return len(e.b)
}

func (e *encoder) close(start int) {
	n := len(e.b) - start
	for i := 1; i <= 4; i++ {
		e.b[start-i] = byte(n)
		n >>= 8
	}
}

func (e *encoder) str(tag byte, s string) {
	e.b = append(e.b, tag)
	if n := len(s); n < 0x80 {
		e.b = append(e.b, byte(n))
	} else {
		e.b = append(e.b, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	e.b = append(e.b, s...)
}

// num writes a number that is not negative, in as few bytes as DER wants.
func (e *encoder) num(tag byte, n int) {
	size := 1
	for m := n >> 7; m > 0; m >>= 8 {
		size++
	}
	e.b = append(e.b, tag, byte(size))
	for size--; size >= 0; size-- {
		e.b = append(e.b, byte(n>>(8*size)))
	}
}

// value is one decoded value.
type value struct {
	tag     byte
	content []byte
}

// next reads the value that b begins with.
func next(b []byte) (v value, rest []byte, err error) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return v, nil, errBER
	}
	n, head, err := length(b[1:])
	if err != nil || n > len(b)-1-head {
		return v, nil, errBER
	}
	end := 1 + head + n
	return value{b[0], b[1+head : end]}, b[end:], nil
}

// expect reads a value that must have the tag.
func expect(b []byte, tag byte) (content, rest []byte, err error) {
	v, rest, err := next(b)
	if err == nil && v.tag != tag {
		err = errBER
	}
	return v.content, rest, err
}

// length reads a length and tells how many bytes it took.
func length(b []byte) (n, size int, err error) {
	if b[0] < 0x80 {
		return int(b[0]), 1, nil
	}
	size = int(b[0] & 0x7f)
	if size == 0 || size > 4 || size >= len(b) {
		return 0, 0, errBER
	}
	for _, c := range b[1 : 1+size] {
		n = n<<8 | int(c)
	}
	return n, 1 + size, nil
}

// number reads the content of an INTEGER or ENUMERATED that is not negative.
func number(content []byte) (int, error) {
	if len(content) == 0 || len(content) > 5 || content[0] >= 0x80 {
		return 0, errBER
	}
	n := 0
	for _, c := range content {
		n = n<<8 | int(c)
	}
	return n, nil
}

// readMessage reads one LDAPMessage into buf, which grows as needed, and returns its content.
func readMessage(r io.Reader, buf []byte) (content, grown []byte, err error) {
	var head [6]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return nil, buf, err
	}
	if head[0] != tagSequence {
		return nil, buf, errBER
	}
	used := 2
	if head[1] > 0x80 && head[1] <= 0x84 {
		used += int(head[1] & 0x7f)
		if _, err := io.ReadFull(r, head[2:used]); err != nil {
			return nil, buf, err
		}
	}
	n, _, err := length(head[1:])
	if err != nil || n > maxMessage {
		return nil, buf, errBER
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	_, err = io.ReadFull(r, buf)
	return buf, buf, err
}
