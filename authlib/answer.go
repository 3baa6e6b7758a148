package authlib

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// maxAnswer is the longest answer about one account that a client takes, in bytes.
const maxAnswer = 64 << 10

// The answers to a request, other than an account.
const (
	AnswerOK   = "OK\n"
	AnswerFail = "FAIL\n"
	AnswerEnd  = ".\n"
)

// AppendAccount appends the account as the answer to AUTH or PRE, final "." included. A value with a control
// character cannot be carried: the error, an [*AccountError], names its key.
func AppendAccount(dst []byte, a *Account) ([]byte, error) {
	start := len(dst)
	bad := ""
	add := func(key, value string) {
		if value == "" {
			return
		}
		if HasControl(value) && bad == "" {
			bad = key
		}
		dst = append(dst, key...)
		dst = append(dst, '=')
		dst = append(dst, value...)
		dst = append(dst, '\n')
	}
	add("USERNAME", a.SystemUser)
	if a.UID != nil {
		dst = append(strconv.AppendUint(append(dst, "UID="...), uint64(*a.UID), 10), '\n')
	}
	if a.GID != nil {
		dst = append(strconv.AppendUint(append(dst, "GID="...), uint64(*a.GID), 10), '\n')
	}
	add("HOME", a.Home)
	add("ADDRESS", a.Address)
	add("NAME", a.FullName)
	add("MAILDIR", a.Maildir)
	add("QUOTA", a.Quota)
	add("PASSWD", a.CryptPassword)
	add("PASSWD2", a.ClearPassword)
	add("OPTIONS", string(a.Options))
	if bad != "" {
		return dst[:start], Unusable(a.Address, "a control character in %s", bad)
	}
	return append(dst, AnswerEnd...), nil
}

// refusedKey says before FAIL why, in the words of RFC 5530. Courier's clients ignore keys that they do not
// know, and Courier's daemon never sends this one.
const refusedKey = "REFUSED"

// refusals are the words for the kinds of ErrRefused.
var refusals = [...]struct {
	word string
	kind error
}{{"EXPIRED", ErrExpired}, {"CONTACTADMIN", ErrLocked}, {"LIMIT", ErrTooLong}, {"CANNOT", ErrNoSecret}}

// AppendRefusal appends the answer to AUTH or PRE for err, an [ErrRefused] of whatever kind.
func AppendRefusal(dst []byte, err error) []byte {
	for _, r := range refusals {
		if errors.Is(err, r.kind) {
			dst = append(dst, refusedKey+"="+r.word+"\n"...)
		}
	}
	return append(dst, AnswerFail...)
}

// readAccount reads an answer to AUTH or PRE. The error is [ErrRefused] for FAIL, or a kind of it;
// io.ErrUnexpectedEOF when the connection ended without an answer, which is the daemon's way to say "not
// now"; [ErrProtocol] for garbage; an [*AccountError] for ids that no account may have; or r's own.
func readAccount(r io.Reader) (a *Account, err error) {
	err = readMessage(r, maxAnswer, func(buf []byte) (err error) {
		a, _, err = parseAccount(buf)
		return err
	})
	return a, err
}

// parseAccount parses an answer to AUTH or PRE; rest is what follows it in buf.
func parseAccount(buf []byte) (a *Account, rest []byte, err error) {
	a = new(Account)
	var uid, gid string
	refused := ErrRefused
	for {
		i := bytes.IndexByte(buf, '\n')
		if i < 0 {
			return nil, nil, errIncomplete
		}
		line := string(buf[:i])
		buf = buf[i+1:]
		switch line {
		case ".":
			if err := a.setWireIDs(uid, gid); err != nil {
				return nil, buf, err
			}
			return a, buf, nil
		case "FAIL":
			return nil, buf, refused
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || HasControl(line) {
			return nil, nil, ErrProtocol
		}
		switch key {
		case refusedKey:
			for _, r := range refusals {
				if r.word == value {
					refused = r.kind
				}
			}
		case "USERNAME":
			a.SystemUser = value
		case "UID":
			uid = value
		case "GID":
			gid = value
		case "HOME":
			a.Home = value
		case "ADDRESS":
			a.Address = value
		case "NAME":
			a.FullName = value
		case "MAILDIR":
			a.Maildir = value
		case "QUOTA":
			a.Quota = value
		case "PASSWD":
			a.CryptPassword = value
		case "PASSWD2":
			a.ClearPassword = value
		case "OPTIONS":
			a.Options = Options(value)
		}
	}
}

// setWireIDs sets the ids that an answer holds; "" = it does not. Courier's daemon writes GID=0 for accounts
// of a system user, whose ids come from the system.
func (a *Account) setWireIDs(uid, gid string) error {
	if a.SystemUser != "" && gid == "0" {
		gid = ""
	}
	for _, id := range [...]struct {
		key, value string
		to         **uint32
	}{{"UID", uid, &a.UID}, {"GID", gid, &a.GID}} {
		if id.value == "" {
			continue
		}
		n, err := ParseID(id.value)
		if err != nil {
			return Unusable(a.Address, "%s=%.40q: %v", id.key, id.value, err)
		}
		*id.to = &n
	}
	return nil
}

// AppendListing appends one line of an enumeration: name, uid, gid, home, maildir and options, separated by
// tabs. Accounts with control characters in them cannot be listed.
func AppendListing(dst []byte, a *Account) ([]byte, error) {
	for _, v := range [...]string{a.Address, a.Home, a.Maildir, string(a.Options)} {
		if HasControl(v) {
			return dst, errors.New("account with a control character in its name, home, maildir or options")
		}
	}
	if a.Address == "" || a.Address[0] == '#' || a.Address == "." || a.UID == nil || a.GID == nil {
		return dst, errors.New("account without a name or without ids")
	}
	dst = append(append(dst, a.Address...), '\t')
	dst = append(strconv.AppendUint(dst, uint64(*a.UID), 10), '\t')
	dst = append(strconv.AppendUint(dst, uint64(*a.GID), 10), '\t')
	dst = append(append(dst, a.Home...), '\t')
	dst = append(append(dst, a.Maildir...), '\t')
	return append(append(dst, string(a.Options)...), '\n'), nil
}

// readListing reads an enumeration to its end and calls yield for each account, except accounts with ids that
// no account may have. It ends with yield's first error, with io.ErrUnexpectedEOF for a list that was cut
// short, with [ErrProtocol] for garbage, or with r's own error.
func readListing(r io.Reader, yield func(*Account) error) error {
	lines := bufio.NewReaderSize(r, maxAnswer)
	for {
		raw, err := lines.ReadSlice('\n')
		if err != nil {
			switch err {
			case bufio.ErrBufferFull:
				return ErrProtocol
			case io.EOF:
				return io.ErrUnexpectedEOF
			}
			return err
		}
		line := string(raw[:len(raw)-1])
		switch {
		case line == ".":
			return nil
		case line == "FAIL":
			return ErrRefused
		case line == "" || line[0] == '#':
			continue
		}
		a, err := parseListing(line)
		if errors.Is(err, ErrID) {
			continue // nobody can log in there
		}
		if err != nil {
			return err
		}
		if err := yield(a); err != nil {
			return err
		}
	}
}

// parseListing parses one line of an enumeration, in which the options may be missing. The error is
// ErrProtocol, or ErrID.
func parseListing(line string) (*Account, error) {
	f := strings.Split(line, "\t")
	if len(f) < 5 || len(f) > 6 || f[0] == "" {
		return nil, ErrProtocol
	}
	for _, v := range f {
		if HasControl(v) {
			return nil, ErrProtocol
		}
	}
	a := &Account{Address: f[0], Home: f[3], Maildir: f[4]}
	uid, err := ParseID(f[1])
	gid, err2 := ParseID(f[2])
	if err != nil || err2 != nil {
		return nil, ErrID
	}
	a.UID, a.GID = &uid, &gid
	if len(f) == 6 {
		a.Options = Options(f[5])
	}
	return a, nil
}
