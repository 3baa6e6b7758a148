package transcript

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"time"
)

// DefaultTimeout is how long a Runner waits for each expected line unless told otherwise.
const DefaultTimeout = time.Minute

// Runner plays scripts on one connection. It keeps what it has read too much, so several scripts can be
// played one after the other. It is not for use by several goroutines.
type Runner struct {
	// Conn is the connection; End steps need it to have CloseWrite() error.
	Conn net.Conn
	// As is the side that is played; zero means Client.
	As Side
	// Timeout limits each expected line and each write; zero means DefaultTimeout.
	Timeout time.Duration
	// Dribble sends one byte a write, this long apart. Zero sends whole writes.
	Dribble time.Duration
	// Vars are the values for ${name}; named groups add to them.
	Vars map[string]string
	// Funcs compute values for ${name} that Vars does not have, for example the answer to a challenge.
	Funcs map[string]func(vars map[string]string) (string, error)

	in  *bufio.Reader
	log []string // what was said, one line each, marked like a script
}

// Said returns what was said so far: lines that begin with "C: " or "S: ", with control characters as Go
// escapes.
func (r *Runner) Said() []string { return r.log }

// Buffered returns the reader that holds what was read too much: read on from here, not from Conn.
func (r *Runner) Buffered() *bufio.Reader {
	if r.in == nil {
		r.in = bufio.NewReader(r.Conn)
	}
	return r.in
}

// Play runs the script to its end. The error names the step, what came instead, and what was said before.
func (r *Runner) Play(s *Script) error {
	if r.As == 0 {
		r.As = Client
	}
	if r.Vars == nil {
		r.Vars = map[string]string{}
	}
	r.Buffered()
	out := newSender(r)
	defer out.stop()
	for _, step := range s.Steps {
		if err := r.step(out, step); err != nil {
			return fmt.Errorf("%s: %s: %w\n--- the dialogue so far:\n%s", step.Where, s.Name, err,
				strings.Join(r.log, "\n"))
		}
	}
	return out.finish()
}

func (r *Runner) step(out *sender, step Step) error {
	text, err := r.expand(step)
	if err != nil {
		return err
	}
	if step.Side == r.As {
		if out.closed {
			return errors.New("nothing can be sent after the end of the stream")
		}
		switch step.Op {
		case Line:
			r.note(r.As, text)
			out.add(text + "\r\n")
		case Bytes:
			r.note(r.As, text)
			out.add(text)
		case Flush:
			out.flush()
		case End:
			out.flush()
			return out.closeWrite()
		default:
			return fmt.Errorf("the side that is played cannot send %q", string(step.Op))
		}
		return nil
	}
	out.flush()
	if err := r.expect(step, text); err != nil {
		return errors.Join(err, out.failed())
	}
	return nil
}

func (r *Runner) expand(step Step) (text string, err error) {
	if step.Op != Line && step.Op != Bytes {
		return step.Text, nil
	}
	text = variable.ReplaceAllStringFunc(step.Text, func(use string) string {
		name := use[2 : len(use)-1]
		if value, ok := r.Vars[name]; ok {
			return value
		}
		f, ok := r.Funcs[name]
		if !ok {
			err = errors.Join(err, fmt.Errorf("no variable %q", name))
			return ""
		}
		value, ferr := f(r.Vars)
		err = errors.Join(err, ferr)
		return value
	})
	return text, err
}

var variable = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

func (r *Runner) expect(step Step, text string) error {
	switch step.Op {
	case Silence:
		return r.expectSilence(step.Time)
	case End:
		return r.expectEnd()
	case Bytes:
		got := make([]byte, len(text))
		n, err := io.ReadFull(r.deadline(), got)
		r.note(step.Side, string(got[:n]))
		if err != nil || string(got) != text {
			return mismatch(text, string(got[:n]), err)
		}
		return nil
	case Flush:
		return nil
	}
	for {
		got, err := r.readLine(step.Side)
		if err != nil {
			return mismatch(step.Text, got, err)
		}
		if step.Op == Line {
			if got != text {
				return mismatch(text, got, nil)
			}
			return nil
		}
		if groups := step.Expr.FindStringSubmatch(got); groups != nil {
			for i, name := range step.Expr.SubexpNames() {
				if name != "" {
					r.Vars[name] = groups[i]
				}
			}
			return nil
		}
		if step.Op == Match {
			return mismatch(step.Text, got, nil)
		}
	}
}

// readLine returns the next line without its CRLF. A bare LF is no line end and stays in the line.
func (r *Runner) readLine(from Side) (string, error) {
	in := r.deadline()
	var line strings.Builder
	for {
		part, err := in.ReadString('\n')
		line.WriteString(part)
		if got, ended := strings.CutSuffix(line.String(), "\r\n"); err != nil || ended {
			if err == nil || line.Len() > 0 {
				r.note(from, got)
			}
			return got, err
		}
	}
}

func (r *Runner) expectEnd() error {
	rest, err := io.ReadAll(io.LimitReader(r.deadline(), 1000))
	if len(rest) > 0 {
		r.note(other(r.As), string(rest))
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("want the end of the stream\n got %q", rest)
	case err != nil:
		return fmt.Errorf("want the end of the stream: %w", err)
	}
	return nil
}

func (r *Runner) expectSilence(d time.Duration) error {
	r.Conn.SetReadDeadline(time.Now().Add(d))
	got, err := r.in.Peek(1)
	switch {
	case len(got) > 0:
		got, _ = r.in.Peek(r.in.Buffered())
		return fmt.Errorf("want silence\n got %q", got)
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("want silence, not the end: %w", err)
	}
	return nil
}

func (r *Runner) deadline() *bufio.Reader {
	r.Conn.SetReadDeadline(time.Now().Add(r.timeout()))
	return r.in
}

func (r *Runner) timeout() time.Duration {
	if r.Timeout == 0 {
		return DefaultTimeout
	}
	return r.Timeout
}

func (r *Runner) note(side Side, text string) {
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		quoted := fmt.Sprintf("%q", line)
		if len(quoted) > 500 {
			quoted = fmt.Sprintf("%s... (%d bytes)", quoted[:500], len(line))
		}
		r.log = append(r.log, fmt.Sprintf("%c: %s", side, strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)))
	}
}

func other(side Side) Side {
	if side == Client {
		return Server
	}
	return Client
}

func mismatch(want, got string, err error) error {
	if err != nil {
		return fmt.Errorf("want %q\n got %.1000q and %w", want, got, err)
	}
	return fmt.Errorf("want %q\n got %.1000q", want, got)
}
