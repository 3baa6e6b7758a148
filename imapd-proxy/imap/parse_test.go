package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"mailproxy/internal/line"
	"mailproxy/tests/fronttest"
)

// feed returns a parser for what a client sends all at once before it closes, and the connection it reads
// from.
func feed(t testing.TB, input string) (*parser, net.Conn, *int) {
	ours, theirs := fronttest.Socketpair(t)
	go func() {
		io.WriteString(theirs, input)
		theirs.CloseWrite()
	}()
	asked := 0
	return &parser{in: line.NewReader(ours), proceed: func() error { asked++; return nil }}, ours, &asked
}

func TestLoginArguments(t *testing.T) {
	long := strings.Repeat("x", maxLiteral)
	cases := []struct {
		name, in       string
		tag            string
		user, password string
		err            error
		asked          int
		rest           string
	}{
		{"atoms", "a1 LOGIN joe secret\r\nnext", "a1", "joe", "secret", nil, 0, "next"},
		{"bare LF", "a1 LOGIN joe secret\nnext", "a1", "joe", "secret", nil, 0, "next"},
		{"CR CR LF", "a1 LOGIN joe secret\r\r\nnext", "a1", "joe", "secret", nil, 0, "next"},
		{"blanks", " a1  login \tjoe   secret \r\n", "a1", "joe", "secret", nil, 0, ""},
		{"quoted", "a1 LOGIN \"jo e\" \"sec \\\"\\\\ ret\"\r\n", "a1", "jo e", `sec "\ ret`, nil, 0, ""},
		{"quoted, other escapes", "a1 LOGIN \"j\\oe\" \"\"\r\n", "a1", "joe", "", nil, 0, ""},
		{"quoted UTF-8", "a1 LOGIN \"jo\xc3\xa9\" \"\xe2\x82\xac\"\r\n", "a1", "jo\u00e9", "\u20ac", nil, 0, ""},
		{"quoted, with a literal's look", "a1 LOGIN \"{3}\" \"{5+}\"\r\nnext", "a1", "{3}", "{5+}", nil, 0, "next"},
		{"literals", "a1 LOGIN {3}\r\njoe {6}\r\nsecret\r\nnext", "a1", "joe", "secret", nil, 2, "next"},
		{"literals unasked", "a1 LOGIN {3+}\r\njoe {6+}\r\nsecret\r\nnext", "a1", "joe", "secret", nil, 0, "next"},
		{"literal and atom", "a1 LOGIN {3}\r\njoe secret\r\n", "a1", "joe", "secret", nil, 1, ""},
		{"literal with line ends", "a1 LOGIN {6}\r\na\r\nb\xff\x00 x\r\n", "a1", "a\r\nb\xff\x00", "x", nil, 1, ""},
		{"literal empty", "a1 LOGIN {0}\r\n {0+}\r\n\r\nnext", "a1", "", "", nil, 1, "next"},
		{"literal longest", "a1 LOGIN {8192}\r\n" + long + " x\r\n", "a1", long, "x", nil, 1, ""},
		{"password as clients send it", "a1 LOGIN joe a~b}c]d[e(f)g%h*i+j\r\n", "a1", "joe", "a~b}c]d[e(f)g%h*i+j",
			nil, 0, ""},

		{"NIL", "a1 LOGIN NIL x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"NIL password", "a1 LOGIN joe NIL\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"nil password", "a1 LOGIN joe nil\r\nnext", "a1", "joe", "nil", nil, 0, "next"},
		{"quoted NIL", "a1 LOGIN \"NIL\" \"nil\"\r\n", "a1", "NIL", "nil", nil, 0, ""},
		{"none", "a1 LOGIN\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"one", "a1 LOGIN joe\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"three", "a1 LOGIN a b c\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"quote inside", "a1 LOGIN jo\"e x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"quote open", "a1 LOGIN joe \"x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"quote open, backslash", "a1 LOGIN joe \"x\\\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"quote, then more", "a1 LOGIN \"joe\"x y\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"two quotes together", "a1 LOGIN \"joe\"\"x\"\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"quoted Latin-1", "a1 LOGIN \"jo\xe9\" x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"8-bit atom", "a1 LOGIN jo\xc3\xa9 x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"backslash", "a1 LOGIN jo\\e x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"brace", "a1 LOGIN jo{e x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"literal glued", "a1 LOGIN joe{3}\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"literal too long", "a1 LOGIN {8193}\r\nnext", "a1", "", "", errTooLong, 0, "next"},
		{"literal too long, unasked", "a1 LOGIN {8193+}\r\n" + long + "x joe\r\nnext", "a1", "", "", errTooLong, 0,
			"next"},
		{"literal huge", "a1 LOGIN {99999999999999999999999}\r\nnext", "a1", "", "", errTooLong, 0, "next"},
		{"literal huge, unasked", "a1 LOGIN {18446744073709551619+}\r\nabc", "a1", "", "", errFlood, 0, "abc"},
		{"literals without end, unasked", "a1 X" + strings.Repeat("{0+}\r\n", 200) + "abc", "a1", "", "", errFlood,
			0,
			strings.Repeat("{0+}\r\n", 71) + "abc"},
		{"literal without size", "a1 LOGIN {}\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"literal of plus", "a1 LOGIN {+}\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"literal negative", "a1 LOGIN {-1}\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"literal not at the end", "a1 LOGIN {3} x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"literal, then glued", "a1 LOGIN {3}\r\njoex y\r\nnext", "a1", "", "", errSyntax, 1, "next"},
		{"literal, then end", "a1 LOGIN {3}\r\njoe\r\nnext", "a1", "", "", errSyntax, 1, "next"},
		{"third literal unasked", "a1 LOGIN a b {4+}\r\nA1 X\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"another command with unasked literals", "a1 APPEND {2+}\r\n\r\n {3+}\r\nabc\r\nnext", "a1", "", "",
			errSyntax, 0, "next"},
		{"long line", "a1 LOGIN " + strings.Repeat("y", maxLine) + " x\r\nnext", "a1", "", "", errTooLong, 0,
			"next"},
		{"long line after a literal", "a1 LOGIN {1}\r\nj " + strings.Repeat("y", maxLine) + "\r\nnext", "a1", "",
			"", errTooLong, 1, "next"},
		{"end inside a literal", "a1 LOGIN {5}\r\njoe", "a1", "", "", io.ErrUnexpectedEOF, 1, ""},
		{"end inside the line", "a1 LOGIN joe sec", "", "", "", io.ErrUnexpectedEOF, 0, ""},
		{"tag alone", "a1\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"no tag", "\r\nnext", "", "", "", errSyntax, 0, "next"},
		{"tag of plus", "+ LOGIN a b\r\nnext", "", "", "", errSyntax, 0, "next"},
		{"tag of star", "* LOGIN a b\r\nnext", "", "", "", errSyntax, 0, "next"},
		{"tag with 8-bit", "a\xff LOGIN a b\r\nnext", "", "", "", errSyntax, 0, "next"},
		{"tag quoted", "\"a\" LOGIN a b\r\nnext", "", "", "", errSyntax, 0, "next"},
		{"tag NIL", "NIL LOGIN a b\r\nnext", "", "", "", errSyntax, 0, "next"},
		{"tag as a literal", "{2+}\r\na1 LOGIN a b\r\nnext", "", "", "", errSyntax, 0, "next"},
		{"tag longest", strings.Repeat("t", maxTag) + " LOGIN a b\r\n", strings.Repeat("t", maxTag), "a", "b", nil,
			0, ""},
		{"tag too long", strings.Repeat("t", maxTag+1) + " LOGIN a b\r\nnext", "", "", "", errSyntax, 0, "next"},
		{"NUL", "a1 LOGIN jo\x00e x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
		{"CR inside", "a1 LOGIN jo\re x\r\nnext", "a1", "", "", errSyntax, 0, "next"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, conn, asked := feed(t, c.in)
			tag, user, password, err := readLogin(p)
			if tag != c.tag || user != c.user || password != c.password || !errors.Is(err, c.err) {
				t.Errorf("%q, %.50q, %.50q, %v", tag, user, password, err)
			}
			if *asked != c.asked {
				t.Errorf("asked for %d literals, want %d", *asked, c.asked)
			}
			rest, _ := io.ReadAll(conn)
			if string(rest) != c.rest {
				t.Errorf("left in the connection: %.50q, want %q", rest, c.rest)
			}
		})
	}
}

// readLogin reads a LOGIN command as the dialogue does, errors included.
func readLogin(p *parser) (tag, user, password string, err error) {
	if tag, err = p.begin(); err == nil {
		user, password, err = readArguments(p)
	}
	if errors.Is(err, errSyntax) || errors.Is(err, errTooLong) {
		if derr := p.discard(); derr != nil {
			err = derr
		}
	}
	if err != nil {
		user, password = "", ""
	}
	return tag, user, password, err
}

func readArguments(p *parser) (user, password string, err error) {
	if !strings.EqualFold(p.word(), "LOGIN") {
		return "", "", errSyntax
	}
	if user, err = p.astring(); err != nil {
		return "", "", err
	}
	if password, err = p.astring(); err != nil {
		return "", "", err
	}
	return user, password, p.end()
}

// TestCharacterClasses holds all 256 bytes against what each place of a command may hold.
func TestCharacterClasses(t *testing.T) {
	for i := range 256 {
		c := string([]byte{byte(i)})
		visible := i > 0x20 && i < 0x7f
		if want := visible && !strings.ContainsAny(c, "\"{\\"); isAtomChar(byte(i)) != want {
			t.Errorf("atom with %#x: %v", i, !want)
		}
		// RFC 3501 section 9: tag = 1*<any ASTRING-CHAR except "+">
		if want := visible && !strings.ContainsAny(c, "\"{\\()%*+"); isTagChar(byte(i)) != want {
			t.Errorf("tag with %#x: %v", i, !want)
		}
		if i == '\n' {
			continue
		}
		// In a quoted string stands everything but a quote and 8-bit bytes alone; control characters pass the
		// grammar and are refused as part of a name, like those in literals.
		p, _, _ := feed(t, "a LOGIN \"x"+c+"y\" {3+}\r\nx"+c+"y\r\n")
		_, user, password, err := readLogin(p)
		want := "x" + c + "y"
		switch {
		case i == '"', i >= 0x80:
			if err == nil {
				t.Errorf("quoted string with %#x: %q", i, user)
			}
		case i == '\\':
			if user != "xy" {
				t.Errorf("quoted string with a backslash: %q", user)
			}
		case err != nil || user != want || password != want:
			t.Errorf("%#x: %q %q %v", i, user, password, err)
		}
	}
}

// FuzzCommand: a LOGIN that is understood, written down anew in the only form that can carry everything, is
// understood as the same, and exactly its own bytes have been consumed: what stood after it is still there.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		"a1 LOGIN joe secret\r\n", "a1 login \"jo\\\"e\" {3}\r\nabc\r\n", "a {2+}\r\nxy\r\n", "a LOGIN {0} x\r\n",
		"x\r\n", "a LOGIN {99999999999999999999}\r\n", "a LOGIN \"\xff\" x\n", "a ID (\"a\" NIL)\r\n",
	} {
		f.Add([]byte(seed), []byte("A2 NOOP\r\n"))
	}
	f.Fuzz(func(t *testing.T, input, behind []byte) {
		if len(input) > 100_000 || len(behind) > 1000 || bytes.HasSuffix(input, []byte("\r")) {
			return
		}
		p, conn, _ := feed(t, string(input)+"\n"+string(behind))
		tag, user, password, err := readLogin(p)
		if err != nil {
			return
		}
		if !utf8.ValidString(tag) || strings.ContainsAny(tag, " \r\n*+\"{\\") || tag == "" {
			t.Fatalf("tag %q", tag)
		}
		used := p.in.Count()
		rest, _ := io.ReadAll(conn)
		if whole := string(input) + "\n" + string(behind); whole[used:] != string(rest) || whole[used-1] != '\n' {
			t.Fatalf("consumed %d of %q, left %q", used, whole, rest)
		}
		again, _, _ := feed(t, fmt.Sprintf("%s LOGIN {%d}\r\n%s {%d+}\r\n%s\r\n", tag, len(user), user,
			len(password), password))
		tag2, user2, password2, err := readLogin(again)
		if err != nil || tag2 != tag || user2 != user || password2 != password {
			t.Fatalf("%q %q %q became %q %q %q, %v", tag, user, password, tag2, user2, password2, err)
		}
	})
}
