// Package transcript plays written dialogues on a connection: text files that read like a protocol trace
// and are a test.
//
// A file holds one dialogue, or several, each under a heading "== name". Each line is one step; the first
// two characters say what it does, the rest after one blank is its text. C is the client, S the server;
// the [Runner] plays one of the two and sends that side's lines, the other side's lines are what it
// expects.
//
//	# a comment; blank lines are ignored too
//	C: a1 LOGIN "u" "p"     a line, CRLF added. Lines of the playing side that follow each other go out in
//	                        one write.
//	C= "a1 NOOP\n\x00"      bytes as a Go string in double quotes, nothing added
//	C!                      what has been collected goes out now, the next line is a write of its own
//	C-                      the client closes its sending direction; expected of the other side: the stream
//	                        ends here
//	S: * OK ready           exactly this line
//	S~ \+ (?P<chal>\S+)     a line that matches this regular expression as a whole; named groups become
//	                        variables
//	S* a1 OK .*             any number of lines up to and including one that matches
//	S= "+ "                 exactly these bytes
//	.. 200ms                nothing may arrive for this long
//
// In lines that are sent and in lines that are expected exactly, ${name} stands for a variable (or a
// function's result, see [Runner.Funcs]). An unknown name is an error, "$" alone is not special.
package transcript

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Op says what a step does; the comments give the mark in the file.
type Op byte

// The steps there are.
const (
	Line    Op = ':' // a line with CRLF
	Bytes   Op = '=' // bytes
	Match   Op = '~' // a line that matches
	Skip    Op = '*' // lines up to one that matches
	Flush   Op = '!' // end of a write
	End     Op = '-' // end of the stream in this direction
	Silence Op = '.' // nothing arrives for a time
)

// Side is one of the two that talk.
type Side byte

// The two sides, as they are marked in a file.
const (
	Client Side = 'C'
	Server Side = 'S'
)

// Step is one line of a script.
type Step struct {
	Where string // "file:line", for messages
	Side  Side   // who speaks; 0 for Silence
	Op    Op
	Text  string         // the line without CRLF, or the bytes
	Expr  *regexp.Regexp // for Match and Skip
	Time  time.Duration  // for Silence
}

// Script is one dialogue.
type Script struct {
	Name  string // the heading, or the file's name without one
	Steps []Step
}

// ParseFile reads the dialogues of a file. A file without any is an error.
func ParseFile(path string) ([]*Script, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Parse(path, f)
}

// Parse reads dialogues; name stands for the file in messages.
func Parse(name string, r io.Reader) ([]*Script, error) {
	var scripts []*Script
	current := &Script{Name: name}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		text := lines.Text()
		where := fmt.Sprintf("%s:%d", name, n)
		switch title, isTitle := strings.CutPrefix(text, "== "); {
		case strings.TrimSpace(text) == "" || text[0] == '#':
		case isTitle:
			if len(current.Steps) > 0 {
				scripts = append(scripts, current)
			}
			current = &Script{Name: strings.TrimSpace(title)}
		default:
			step, err := parseStep(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
			step.Where = where
			current.Steps = append(current.Steps, step)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(current.Steps) > 0 {
		scripts = append(scripts, current)
	}
	if len(scripts) == 0 {
		return nil, fmt.Errorf("%s: no dialogue in it", name)
	}
	return scripts, nil
}

var errStep = errors.New(`expected a line that begins with C or S and one of ":=~*!-", or with ".."`)

func parseStep(line string) (Step, error) {
	mark, text, blank := strings.Cut(line, " ")
	if len(mark) != 2 {
		return Step{}, errStep
	}
	step := Step{Side: Side(mark[0]), Op: Op(mark[1]), Text: text}
	if mark == ".." {
		wait, err := time.ParseDuration(strings.TrimSpace(text))
		return Step{Op: Silence, Time: wait}, err
	}
	if step.Side != Client && step.Side != Server {
		return Step{}, errStep
	}
	var err error
	switch step.Op {
	case Line:
	case Bytes:
		step.Text, err = strconv.Unquote(strings.TrimSpace(text))
	case Match, Skip:
		step.Expr, err = regexp.Compile(`^(?:` + text + `)$`)
	case Flush, End:
		if blank && strings.TrimSpace(text) != "" {
			err = fmt.Errorf("%s takes no text", mark)
		}
	default:
		err = errStep
	}
	return step, err
}
