package transcript

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// pair is a connected pair of TCP sockets, so that both ends can close one direction.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

const dialogue = `
	# both sides play the same text
	== greeting and commands
	S: * OK ready
	C: a1 NOOP
	C: a2 NOOP
	S: a1 OK
	S: a2 OK
	C= "a3 \x00\r\n"
	C!
	C: a4 ${word}
	S: ${answer}
	S= "+ "
	== the end
	C-
	S: bye
	S-
`

func TestBothSidesPlayTheSame(t *testing.T) {
	a, b := pair(t)
	scripts := MustParse(t, dialogue)
	if len(scripts) != 2 || scripts[1].Name != "the end" {
		t.Fatalf("%d scripts", len(scripts))
	}
	vars := map[string]string{"word": "$x"}
	funcs := map[string]func(map[string]string) (string, error){
		"answer": func(vars map[string]string) (string, error) { return "got " + vars["word"], nil },
	}
	server := make(chan error, 1)
	go func() {
		r := &Runner{Conn: b, As: Server, Vars: vars, Funcs: funcs}
		for _, s := range scripts {
			if err := r.Play(s); err != nil {
				server <- err
				return
			}
		}
		server <- nil
	}()
	r := &Runner{Conn: a, Vars: map[string]string{"word": "$x"}, Funcs: funcs, Dribble: time.Microsecond}
	for _, s := range scripts {
		if err := r.Play(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-server; err != nil {
		t.Fatal(err)
	}
	said := strings.Join(r.Said(), "\n")
	for _, want := range []string{"S: * OK ready", `C: a3 \x00`, "S: got $x"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in the record:\n%s", want, said)
		}
	}
}

func TestMatchSkipSilence(t *testing.T) {
	a, b := pair(t)
	go io.WriteString(b, "+ abc=\r\n* 1\r\n* 2\r\na OK\r\n")
	r := Play(t, a, `
		S~ \+ (?P<challenge>\S+)
		S* a OK
		.. 20ms
	`)
	if r.Vars["challenge"] != "abc=" {
		t.Errorf("challenge = %q", r.Vars["challenge"])
	}
	go io.WriteString(b, "more")
	for _, s := range MustParse(t, ".. 1s") {
		if err := r.Play(s); err == nil {
			t.Error("bytes were taken for silence")
		}
	}
	if rest, _ := r.Buffered().Peek(4); string(rest) != "more" {
		t.Errorf("left to read: %q", rest)
	}
}

// A write that nobody reads before it ends must not stop the reading (net.Pipe has no buffer).
func TestPipelineOnPipe(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() {
		server := &Runner{Conn: b, As: Server}
		for _, s := range MustParse(t, "C: a\nS: a OK\nC: b\nS: b OK") {
			server.Play(s)
		}
	}()
	Play(t, a, "C: a\nC: b\nS: a OK\nS: b OK")
}

func TestDifferences(t *testing.T) {
	for name, c := range map[string]struct{ sent, script, want string }{
		"other line":    {"* BYE\r\n", "S: * OK", `got "* BYE"`},
		"bare LF":       {"* OK\n", "S: * OK", `"* OK\n"`},
		"end":           {"", "S: * OK", "EOF"},
		"not the end":   {"x", "S-", "want the end"},
		"end too early": {"", ".. 1s", "want silence"},
		"no match":      {"+ \r\n", `S~ \+ .+`, `got "+ "`},
		"bytes":         {"+ x", `S= "+ y"`, `want "+ y"`},
		"not playable":  {"", "C~ x", "cannot send"},
		"no variable":   {"", "C: ${nothing}", "nothing"},
		"after the end": {"", "C-\nC: x", "nothing can be sent"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			io.WriteString(b, c.sent)
			b.Close()
			r := &Runner{Conn: a, Timeout: time.Minute}
			err := r.Play(MustParse(t, c.script)[0])
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, text := range []string{"", "# only a comment", "X: a", "C? a", "C", `C= "a`, "S~ (", ".. soon",
		"C- x", "C::"} {
		if scripts, err := Parse("t", strings.NewReader(text)); err == nil {
			t.Errorf("%q was taken as %v", text, scripts[0].Steps)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(dialogue)
	f.Add("C= \"\\x00\"\nS~ (?P<a>b)\nS* c\n.. 1s\nC-\nC!")
	f.Fuzz(func(t *testing.T, text string) {
		scripts, err := Parse("f", strings.NewReader(text))
		if (err == nil) != (len(scripts) > 0) {
			t.Errorf("%d scripts with error %v", len(scripts), err)
		}
	})
}
