package authlib

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// The daemon's second socket takes more than one question on a connection, one at a time. Courier's daemon
// has none. What is asked and answered is what the first socket has, in frames that say where it ends:
//
//	daemon: AUTHDAEMON 1
//	client: ASK <number> <length>      and <length> bytes: AUTH, PRE or PASSWD, with the facts in front of it
//	daemon: ANSWER <number> <length>   and <length> bytes: the answer
//	  or:   TEMPFAIL <number>          where the first socket is closed without an answer
//
// Lines end in a newline. The greeting comes before any question and names the version of what follows: a
// client that does not know it asks on the first socket. An answer repeats the number of its question, so
// that one can never be taken for another's. A connection that breaks these rules is closed. ENUMERATE, whose
// answer may have any length, is a request for the first socket.
const (
	// persistentSuffix is what the second socket's path has after the first one's.
	persistentSuffix = ".persistent"
	// Greeting is the daemon's first line.
	Greeting = "AUTHDAEMON 1\n"
	// maxQuestion is the most bytes of a request in a frame.
	maxQuestion = 16 << 10
	// maxHeader is the longest line in front of a request or an answer, in bytes.
	maxHeader = len("ANSWER 18446744073709551615 65536\n")
)

// The words that frames begin with.
const (
	wordAsk      = "ASK"
	wordAnswer   = "ANSWER"
	wordTempfail = "TEMPFAIL"
)

// errTempfail is the daemon's explicit temporary failure.
var errTempfail = errors.New("temporary failure, its log says why")

// PersistentSocket is the path of the second socket beside the first.
func PersistentSocket(socket string) string { return socket + persistentSuffix }

// IsPersistent tells whether a path is that of a second socket.
func IsPersistent(path string) bool { return strings.HasSuffix(path, persistentSuffix) }

// appendQuestion appends the frame of a request, which appendRequest has made.
func appendQuestion(dst []byte, number uint64, request []byte) []byte {
	return append(appendHeader(dst, wordAsk, number, len(request)), request...)
}

// AppendAnswer appends the frame of an answer; one of more than a client takes is a temporary failure.
func AppendAnswer(dst []byte, number uint64, payload []byte) []byte {
	if len(payload) > maxAnswer {
		return AppendTempfail(dst, number)
	}
	return append(appendHeader(dst, wordAnswer, number, len(payload)), payload...)
}

// AppendTempfail appends the frame that says "not now".
func AppendTempfail(dst []byte, number uint64) []byte {
	dst = append(dst, wordTempfail+" "...)
	return append(strconv.AppendUint(dst, number, 10), '\n')
}

// appendHeader appends the line in front of length bytes.
func appendHeader(dst []byte, word string, number uint64, length int) []byte {
	dst = append(append(dst, word...), ' ')
	dst = append(strconv.AppendUint(dst, number, 10), ' ')
	return append(strconv.AppendInt(dst, int64(length), 10), '\n')
}

// ParseQuestion parses buf, which is to be one question and nothing more: the next may come after the answer.
// The request does not refer to buf. When buf does not hold all of it yet, [Incomplete] is true of the error;
// [ErrProtocol] means that no further byte will help.
func ParseQuestion(buf []byte) (number uint64, req Request, err error) {
	word, number, payload, err := parseFrame(buf, maxQuestion)
	switch {
	case err != nil:
		return 0, nil, err
	case word != wordAsk:
		return 0, nil, ErrProtocol
	}
	req, rest, err := parseRequest(payload)
	if _, list := req.(*EnumerateRequest); list || err != nil || len(rest) > 0 {
		return 0, nil, ErrProtocol
	}
	return number, req, nil
}

// readFramedAccount reads the answer to the question of that number, and nothing beyond. Of an answer that
// came whole the errors are nil, [ErrRefused] and its kinds, an [*AccountError] and errTempfail: the
// connection is fit for another question. got tells whether anything was answered at all.
func readFramedAccount(r io.Reader, number uint64) (a *Account, got bool, err error) {
	err = readMessage(r, maxHeader+maxAnswer, func(buf []byte) (err error) {
		got = true
		a, err = parseFramedAccount(buf, number)
		return err
	})
	return a, got, err
}

// parseFramedAccount parses buf, which is to be one answer and nothing more.
func parseFramedAccount(buf []byte, number uint64) (*Account, error) {
	word, n, payload, err := parseFrame(buf, maxAnswer)
	switch {
	case err != nil:
		return nil, err
	case n != number:
		return nil, ErrProtocol
	case word == wordTempfail:
		return nil, errTempfail
	case word != wordAnswer:
		return nil, ErrProtocol
	}
	a, rest, err := parseAccount(payload)
	if err == errIncomplete || len(rest) > 0 {
		return nil, ErrProtocol
	}
	return a, err
}

// parseFrame takes a frame apart, which buf is to hold and nothing more.
func parseFrame(buf []byte, most int) (word string, number uint64, payload []byte, err error) {
	line, payload, ok := bytes.Cut(buf, []byte("\n"))
	switch {
	case len(line) >= maxHeader:
		return "", 0, nil, ErrProtocol
	case !ok:
		return "", 0, nil, errIncomplete
	}
	first, rest, _ := bytes.Cut(line, []byte(" "))
	digits, size, sized := bytes.Cut(rest, []byte(" "))
	number, ok = decimal(digits)
	length := uint64(0)
	switch word = string(first); word {
	case wordTempfail:
		ok = ok && !sized
	case wordAsk, wordAnswer:
		var ok2 bool
		length, ok2 = decimal(size)
		ok = ok && ok2 && length > 0 && length <= uint64(most)
	default:
		ok = false
	}
	switch {
	case !ok || uint64(len(payload)) > length:
		return "", 0, nil, ErrProtocol
	case uint64(len(payload)) < length:
		return "", 0, nil, errIncomplete
	}
	return word, number, payload, nil
}

// decimal parses a number that is written in one way only: digits, without zeros in front.
func decimal(text []byte) (uint64, bool) {
	if len(text) == 0 || text[0] < '0' || text[0] > '9' || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	return n, err == nil
}
