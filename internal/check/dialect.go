package check

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"mailproxy/internal/line"
)

// maxLine bounds a line from a mailhost, in bytes. A capability list of that length does not exist.
const maxLine = 64 << 10

// errNo is a mailhost's negative answer; its text is the mailhost's.
type errNo struct{ text string }

func (e *errNo) Error() string { return "the mailhost answered: " + e.text }

// wire is one connection to a mailhost.
type wire struct {
	conn net.Conn
	r    *line.Reader
}

func newWire(conn net.Conn) *wire { return &wire{conn: conn, r: line.NewReader(conn)} }

func (w *wire) send(text string) error {
	_, err := w.conn.Write([]byte(text + "\r\n"))
	return err
}

func (w *wire) line() (string, error) {
	b, err := w.r.ReadLine(maxLine)
	return string(b), err
}

// Dialect is the little that is asked of a mailhost in one protocol. The caller sets deadlines.
type Dialect interface {
	// greeting reads the greeting and returns it.
	greeting(w *wire) (string, error)
	// capabilities asks for the list: upper-case words, sorted.
	capabilities(w *wire) ([]string, error)
	// startTLS asks for TLS; the handshake is the caller's.
	startTLS(w *wire) error
	// login logs in.
	login(w *wire, user, password string) error
	// quit says good-bye.
	quit(w *wire)
}

// IMAP is the dialect of RFC 9051.
type IMAP struct{}

func (IMAP) greeting(w *wire) (string, error) {
	text, err := w.line()
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(text, "* OK"):
		return text, nil
	case strings.HasPrefix(text, "* PREAUTH"):
		return text, errors.New(
			"it greets with PREAUTH: everybody is logged in already, so nobody can log in",
		)
	}
	return text, &errNo{text}
}

// command sends one command and returns its untagged answers.
func (IMAP) command(w *wire, tag, text string) ([]string, error) {
	if err := w.send(tag + " " + text); err != nil {
		return nil, err
	}
	var untagged []string
	for {
		got, err := w.line()
		if err != nil {
			return nil, err
		}
		rest, ok := strings.CutPrefix(got, tag+" ")
		switch {
		case !ok && strings.HasPrefix(got, "+"):
			return nil, fmt.Errorf("unexpected continuation request %q", got)
		case !ok:
			untagged = append(untagged, got)
			if len(untagged) > 1000 {
				return nil, errors.New("1000 lines without an answer")
			}
		case strings.HasPrefix(strings.ToUpper(rest), "OK"):
			return append(untagged, got), nil
		default:
			return nil, &errNo{rest}
		}
	}
}

func (d IMAP) capabilities(w *wire) ([]string, error) {
	answers, err := d.command(w, "check1", "CAPABILITY")
	if err != nil {
		return nil, err
	}
	for _, a := range answers {
		if words := strings.Fields(strings.ToUpper(a)); len(words) > 2 && words[0] == "*" &&
			words[1] == "CAPABILITY" {
			return sorted(words[2:]), nil
		}
	}
	return nil, errors.New("no list came")
}

func (d IMAP) startTLS(w *wire) error {
	_, err := d.command(w, "check2", "STARTTLS")
	return err
}

// login sends both strings as synchronising literals, which carry every byte but NUL (RFC 3501 section 4.3).
func (d IMAP) login(w *wire, user, password string) error {
	for _, s := range []string{fmt.Sprintf("check3 LOGIN {%d}", len(user)),
		fmt.Sprintf("%s {%d}", user, len(password))} {
		if err := w.send(s); err != nil {
			return err
		}
		for {
			got, err := w.line()
			if err != nil {
				return err
			}
			if strings.HasPrefix(got, "+") {
				break
			}
			if rest, ok := strings.CutPrefix(got, "check3 "); ok {
				return &errNo{rest}
			}
		}
	}
	if err := w.send(password); err != nil {
		return err
	}
	for {
		got, err := w.line()
		if err != nil {
			return err
		}
		if rest, ok := strings.CutPrefix(got, "check3 "); ok {
			if strings.HasPrefix(strings.ToUpper(rest), "OK") {
				return nil
			}
			return &errNo{rest}
		}
	}
}

func (d IMAP) quit(w *wire) { _, _ = d.command(w, "check4", "LOGOUT") }

// POP3 is the dialect of RFC 1939 and RFC 2449.
type POP3 struct{}

func (POP3) answer(w *wire) (string, error) {
	text, err := w.line()
	if err == nil && !strings.HasPrefix(text, "+OK") {
		err = &errNo{text}
	}
	return text, err
}

func (d POP3) command(w *wire, text string) error {
	if err := w.send(text); err != nil {
		return err
	}
	_, err := d.answer(w)
	return err
}

func (d POP3) greeting(w *wire) (string, error) { return d.answer(w) }

func (d POP3) capabilities(w *wire) ([]string, error) {
	if err := d.command(w, "CAPA"); err != nil {
		return nil, err
	}
	var list []string
	for len(list) < 1000 {
		got, err := w.line()
		if err != nil {
			return nil, err
		}
		if got == "." {
			return sorted(list), nil
		}
		list = append(list, strings.ToUpper(got))
	}
	return nil, errors.New("a list of 1000 capabilities")
}

func (d POP3) startTLS(w *wire) error { return d.command(w, "STLS") }

func (d POP3) login(w *wire, user, password string) error {
	if err := d.command(w, "USER "+user); err != nil {
		return err
	}
	return d.command(w, "PASS "+password)
}

func (d POP3) quit(w *wire) { _ = d.command(w, "QUIT") }

func sorted(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

// missing returns the words of a that b lacks.
func missing(a, b []string) []string {
	var out []string
	for _, w := range a {
		if !slices.Contains(b, w) {
			out = append(out, w)
		}
	}
	return out
}
