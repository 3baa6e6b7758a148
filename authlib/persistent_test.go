package authlib

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestQuestions(t *testing.T) {
	for _, test := range goodRequests {
		if _, ok := test.req.(*EnumerateRequest); ok {
			continue
		}
		frame := string(appendQuestion(nil, 7, []byte(test.wire)))
		number, req, err := ParseQuestion([]byte(frame))
		if number != 7 || !reflect.DeepEqual(req, test.req) || err != nil {
			t.Errorf("%q: %d, %+v, %v", frame, number, req, err)
		}
		for n := range frame {
			if _, _, err := ParseQuestion([]byte(frame[:n])); !Incomplete(err) {
				t.Errorf("%q: %v, want incomplete", frame[:n], err)
			}
		}
		if _, _, err := ParseQuestion([]byte(frame + "A")); err != ErrProtocol {
			t.Errorf("%q and a byte more: %v", frame, err)
		}
	}
	const pre = "PRE . imap a\n"
	for _, frame := range []string{
		"\n", "ASK\n", "ASK 1\n", "ASK 1 \n", "ASK  1 13\n" + pre, "ASK 1 13 \n" + pre,
		"ask 1 13\n" + pre, "ASK 01 13\n" + pre,
		"ASK 1 013\n" + pre, "ASK -1 13\n" + pre, "ASK +1 13\n" + pre, "ASK 1 13\r\n" + pre,
		"ASK 18446744073709551616 13\n" + pre,
		"ASK 1 0\n", "ASK 1 16385\n", "ASK 1 99999999999999999999\n", "ANSWER 1 13\n" + pre, "TEMPFAIL 1\n",
		"ASK 1 12\nPRE . imap a", "ASK 1 26\n" + pre + pre, "ASK 1 10\nENUMERATE\n", "ASK 1 5\nHELLO",
		"ASK 1 30\nAUTH 19\nimap\nlogin\nann\nann\nxxx", "ASK 1 25\nAUTH 19\nimap\nlogin\nann\nan", pre,
		strings.Repeat("x", maxHeader),
	} {
		if number, req, err := ParseQuestion([]byte(frame)); err != ErrProtocol {
			t.Errorf("%q: %d, %+v, %v", frame, number, req, err)
		}
	}
}

func TestFramedAnswers(t *testing.T) {
	full := string(AppendAnswer(nil, 7, []byte("ADDRESS=ann\nHOME=/FAIL\n.\n")))
	if full != "ANSWER 7 25\nADDRESS=ann\nHOME=/FAIL\n.\n" {
		t.Errorf("AppendAnswer: %q", full)
	}
	for text, want := range map[string]error{
		full:                                   nil,
		"ANSWER 7 5\nFAIL\n":                   ErrRefused,
		"ANSWER 7 21\nREFUSED=EXPIRED\nFAIL\n": ErrExpired,
		"TEMPFAIL 7\n":                         errTempfail,
		"":                                     io.ErrUnexpectedEOF,
		"TEMPFAIL 7":                           io.ErrUnexpectedEOF,
		full[:len(full)-1]:                     io.ErrUnexpectedEOF,
		full + "\n":                            ErrProtocol,
		"ANSWER 8 5\nFAIL\n":                   ErrProtocol, // another question's
		"TEMPFAIL 8\n":                         ErrProtocol,
		"TEMPFAIL 7 0\n":                       ErrProtocol,
		"TEMPFAIL 7\nFAIL\n":                   ErrProtocol,
		"ANSWER 7 12\nADDRESS=ann\n":           ErrProtocol, // an answer without its end
		"ANSWER 7 7\nFAIL\n.\n":                ErrProtocol,
		"ANSWER 7 3\nOK\n":                     ErrProtocol,
		"ANSWER 7 65537\n":                     ErrProtocol,
		"FAIL\n":                               ErrProtocol,
		"ASK 7 5\nFAIL\n":                      ErrProtocol,
		strings.Repeat("7", maxHeader):         ErrProtocol,
	} {
		readers := []io.Reader{strings.NewReader(text), iotest.DataErrReader(strings.NewReader(text))}
		if want != ErrProtocol { // what follows an answer is seen only when it comes with it
			readers = append(readers, iotest.OneByteReader(strings.NewReader(text)))
		}
		for _, r := range readers {
			a, got, err := readFramedAccount(r, 7)
			if !errors.Is(err, want) || (want == nil) != (err == nil) || got != (text != "") {
				t.Errorf("%q: %+v, %v, %v; want %v", text, a, got, err, want)
			}
			if err == nil && (a.Address != "ann" || a.Home != "/FAIL") {
				t.Errorf("%q: %+v", text, a)
			}
			if whole(err) != (want == nil || want == errTempfail || errors.Is(want, ErrRefused)) {
				t.Errorf("%q: is the connection fit for more? %v", text, whole(err))
			}
		}
	}
	long := append(bytes.Repeat([]byte("NAME=x\n"), maxAnswer/7+1), ".\n"...)
	if got := string(AppendAnswer(nil, 1, long)); got != "TEMPFAIL 1\n" {
		t.Errorf("an answer that is too long: %.40q", got)
	}
	if header := string(appendHeader(nil, wordAnswer, 1<<64-1, maxAnswer)); len(header) != maxHeader {
		t.Errorf("%q has %d bytes", header, len(header))
	}
}

func FuzzParseQuestion(f *testing.F) {
	for _, r := range goodRequests {
		f.Add(appendQuestion(nil, 1, []byte(r.wire)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		number, req, err := ParseQuestion(data)
		if err != nil {
			return
		}
		for n := range data { // it ends where it ends
			if _, _, err := ParseQuestion(data[:n]); !Incomplete(err) {
				t.Fatalf("%q is complete after %d bytes: %v", data, n, err)
			}
		}
		payload := data[bytes.IndexByte(data, '\n')+1:]
		if again := appendQuestion(nil, number, payload); !bytes.Equal(again, data) {
			t.Errorf("%q is also %q", data, again)
		}
		if first, err := ParseRequest(payload); err != nil || !reflect.DeepEqual(first, req) {
			t.Errorf("%q: %+v, on the first socket %+v, %v", data, req, first, err)
		}
	})
}

func FuzzParseFramedAccount(f *testing.F) {
	f.Add([]byte("ANSWER 1 25\nADDRESS=ann\nHOME=/FAIL\n.\n"))
	f.Add([]byte("ANSWER 1 5\nFAIL\n"))
	f.Add([]byte("TEMPFAIL 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseFramedAccount(data, 1)
		if !whole(err) {
			return
		}
		for n := range data {
			if _, err := parseFramedAccount(data[:n], 1); err != errIncomplete {
				t.Fatalf("%q is complete after %d bytes: %v", data, n, err)
			}
		}
		if _, err := parseFramedAccount(data, 2); err != ErrProtocol {
			t.Errorf("%q answers another question too: %v", data, err)
		}
		if err != nil {
			return
		}
		b, err := readAccount(bytes.NewReader(data[bytes.IndexByte(data, '\n')+1:]))
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%q: %+v, on the first socket %+v, %v", data, a, b, err)
		}
	})
}
