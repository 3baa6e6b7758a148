package mailhost

import (
	"errors"
	"testing"

	"mailproxy/internal/launch"
)

// sink remembers what it was told to write: the slice, and what was in it.
type sink struct {
	launch.Conn
	slice []byte
	text  string
	err   error
}

func (s *sink) Write(p []byte) (int, error) {
	s.slice, s.text = p, string(p)
	return len(p), s.err
}

// A command is overwritten once it is sent, be it in vain.
func TestSendClears(t *testing.T) {
	for _, want := range []error{nil, errors.New("broken")} {
		s := &sink{err: want}
		err := (&Conn{Conn: s}).Send([]byte("PASS geheim"))
		if err != want || s.text != "PASS geheim" {
			t.Errorf("sent %q, %v, want %v", s.text, err, want)
		}
		for _, b := range s.slice {
			if b != 0 {
				t.Fatalf("%q is left", s.slice)
			}
		}
	}
}
