package imap

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"mailproxy/internal/line"
	"mailproxy/internal/mailhost"
	"mailproxy/tests/fronttest"
)

func TestParseResponse(t *testing.T) {
	for text, want := range map[string]response{
		"* OK hello":                        {tag: "*", status: "OK", human: "hello"},
		"* ok [capability A B] hi":          {tag: "*", status: "OK", code: "capability A B", human: "hi"},
		"a1 No [ALERT]":                     {tag: "a1", status: "NO", code: "ALERT"},
		"a1 BAD [open":                      {tag: "a1", status: "BAD", human: "[open"},
		"* BYE":                             {tag: "*", status: "BYE"},
		"* CAPABILITY IMAP4rev1":            {tag: "*", status: "CAPABILITY"},
		"+ [x]":                             {tag: "+", status: "[x]"},
		"+":                                 {tag: "+"},
		"":                                  {},
		"a1  OK two blanks":                 {tag: "a1"},
		"* OK later [CAPABILITY not a code": {tag: "*", status: "OK", human: "later [CAPABILITY not a code"},
	} {
		want.text = text
		if got := parseResponse(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestCapabilitiesOfResponse(t *testing.T) {
	for text, want := range map[string]string{
		"* OK [CAPABILITY IMAP4rev1 IDLE] x": "IMAP4rev1 IDLE",
		"* capability  a   b ":               "a b",
		"a OK [CAPABILITY x]":                "x",
		"* OK [CAPABILITY]":                  "",
		"* CAPABILITY":                       "",
		"* OK [CAPABILITYX y]":               "",
		"* CAPABILITY a\x7fb":                "",
		"* CAPABILITY a]b":                   "",
		"* CAPABILITY \xc3\xa4":              "",
		"* OK CAPABILITY x":                  "",
	} {
		list, ok := parseResponse(text).capabilities()
		if list != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", text, list, ok)
		}
	}
}

// FuzzResponses: whatever a mailhost says, every byte of it is accounted for, what is kept is bounded, and a
// capability list taken from it can be put into a response code of ours.
func FuzzResponses(f *testing.F) {
	for _, seed := range []string{
		"* OK [CAPABILITY IMAP4rev1 LITERAL+] ready\r\n", "* PREAUTH\n", "* X {3}\r\nabc)\r\na1 OK\r\n", "+ \r\n",
		"\r\n\n",
		"* OK text {5}\r\na1 NO [UNAVAILABLE] x\r\n", "* X {99999999999}\r\n", "* CAPABILITY ]\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 100_000 {
			return
		}
		ours, theirs := fronttest.Socketpair(t)
		go func() {
			theirs.Write(input)
			theirs.CloseWrite()
		}()
		rs := responses{line.NewReader(ours)}
		for {
			r, err := rs.next()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				if rs.in.Count() != int64(len(input)) {
					t.Fatalf("%d of %d bytes read", rs.in.Count(), len(input))
				}
				return
			}
			if errors.Is(err, errChatter) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := rs.in.Count(); n == 0 || input[n-1] != '\n' {
				t.Fatalf("stopped at byte %d of %q, not after a line", n, input)
			}
			if len(r.text) > maxResponse || strings.Contains(r.text, "\n") {
				t.Fatalf("kept %q", r.text)
			}
			if list, ok := r.capabilities(); ok && (strings.ContainsAny(list, "]\r\n\x00") || list == "") {
				t.Fatalf("capabilities %q", list)
			}
			if a := r.answer((&mailhost.Conn{}).Shown(r.text)); len(a.Text) > 310 || strings.Contains(a.Human, "\n") {
				t.Fatalf("answer %+v", a)
			}
		}
	})
}

// Whatever a mailhost says, what is copied is what was consumed, no more than fits, and the rest is still
// there.
func FuzzCopyResponse(f *testing.F) {
	for _, seed := range []string{"* OK x\r\n", "* X {3}\r\nabc\r\nrest", "a1 OK {3}\n", "* {99999}\r\nx",
		"\n\n", "* X {2}\nab {1}\nc\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		ours, theirs := fronttest.Socketpair(t)
		go func() {
			theirs.Write(input)
			theirs.CloseWrite()
		}()
		u := &upstream{m: &mailhost.Conn{}, in: responses{line.NewReader(ours)}}
		for {
			_, whole, err := u.copyResponse()
			if n := len(u.m.Answer); n > maxAnswer || err == nil && !bytes.Equal(u.m.Answer, input[:n]) {
				t.Fatalf("copied %q of %q", u.m.Answer, input)
			}
			if err != nil || !whole {
				return
			}
		}
	})
}
