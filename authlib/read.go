package authlib

import "io"

// readMessage reads from r until parse takes what there is, most bytes at most; parse asks for more by
// errIncomplete. The error is parse's, [ErrProtocol] for a message that is too long, io.ErrUnexpectedEOF for
// one that does not come, or r's own. What was read is overwritten: there may be a password in it.
func readMessage(r io.Reader, most int, parse func(message []byte) error) error {
	buf := make([]byte, 0, min(1024, most))
	defer func() { clear(buf[:cap(buf)]) }()
	for len(buf) < most {
		if len(buf) == cap(buf) {
			grown := append(make([]byte, 0, min(2*cap(buf), most)), buf...)
			clear(buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n > 0 {
			if perr := parse(buf); perr != errIncomplete {
				return perr
			}
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return ErrProtocol
}
