package sasl

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"mailproxy/internal/line"
)

// client is one that says its lines and remembers what it is told.
type client struct {
	in   *line.Reader
	told []string
}

func (c *client) Challenge(text string) error {
	c.told = append(c.told, text)
	return nil
}

func (c *client) ReadLine(limit int) ([]byte, error) { return c.in.ReadLine(limit) }

func TestConverse(t *testing.T) {
	const plain = "AGFubgBzZWMgcmV0" // NUL ann NUL sec ret
	ann := Credentials{Mechanism: "PLAIN", Type: "login", User: "ann", Password: "sec ret"}
	for _, c := range []struct {
		name, mechanism, initial, says string
		told                           []string
		want                           Credentials // but for Err
		failed, err                    error
	}{
		{"prompted", "plain", "", plain + "\r\n", []string{""}, ann, nil, nil},
		{"initial response", "PLAIN", plain, "", nil, ann, nil, nil},
		{"two steps", "login", "", "YW5u\r\nc2VjIHJldA==\n", []string{"VXNlcm5hbWU6", "UGFzc3dvcmQ6"},
			Credentials{Mechanism: "LOGIN", Type: "login", User: "ann", Password: "sec ret"}, nil, nil},
		{"empty initial response", "PLAIN", "=", "", nil, Credentials{Mechanism: "PLAIN"}, ErrMalformed, nil},
		{"empty response", "PLAIN", "", "\r\n", []string{""}, Credentials{Mechanism: "PLAIN"}, ErrMalformed, nil},
		{"nobody can be this", "plain", "AAB4", "", nil, Credentials{Mechanism: "PLAIN"}, ErrMalformed, nil},
		{"EXTERNAL", "external", "=", "", nil,
			Credentials{Mechanism: "EXTERNAL", User: "cert", External: true}, nil, nil},
		{"cancelled", "PLAIN", "", "*\r\n", []string{""}, Credentials{}, nil, ErrAborted},
		{"cancelled at once", "PLAIN", "*", "", nil, Credentials{}, nil, ErrAborted},
		{"not base64", "PLAIN", "", "!!!!\r\n", []string{""}, Credentials{}, nil, ErrAborted},
		{"= later", "PLAIN", "", "=\r\n", []string{""}, Credentials{}, nil, ErrAborted},
		{"CR inside", "PLAIN", "", "AGFu\rbgBzZWMgcmV0\r\n", []string{""}, Credentials{}, nil, ErrAborted},
		{"too long", "PLAIN", "", strings.Repeat("A", MaxLine+4) + "\r\n", []string{""},
			Credentials{}, nil, ErrAborted},
		{"hangs up", "PLAIN", "", "AGFu", []string{""}, Credentials{}, nil, io.ErrUnexpectedEOF},
		{"says nothing", "PLAIN", "", "", []string{""}, Credentials{}, nil, io.EOF},
		{"unknown", "x", plain, "", nil, Credentials{}, nil, ErrUnknownMechanism},
	} {
		t.Run(c.name, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			go func() {
				io.WriteString(there, c.says)
				there.Close()
			}()
			wire := &client{in: line.NewReader(here)}
			got, err := Converse(wire, c.mechanism, c.initial, Options{Hostname: "h", External: "cert"})
			if !errors.Is(err, c.err) || !slices.Equal(wire.told, c.told) {
				t.Fatalf("error %v, told %q; want %v and %q", err, wire.told, c.err, c.told)
			}
			if err != nil {
				return
			}
			if !errors.Is(got.Err, c.failed) || !equal(*got, c.want) {
				t.Errorf("got %+v, want %+v, %v", got, c.want, c.failed)
			}
		})
	}
}
