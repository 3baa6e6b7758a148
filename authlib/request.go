package authlib

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Sizes of the authdaemon protocol, as Courier's daemon has them.
const (
	// maxAuthBody is the largest <n> of "AUTH <n>", in bytes.
	maxAuthBody = 8191
	// maxLine is the longest request line without its newline, in bytes.
	maxLine = 8190
	// MaxRequest is the longest request that [ReadRequest] takes, facts about the client included, in bytes.
	MaxRequest = 4 * 8192
)

// ErrProtocol says that the other end did not speak the authdaemon protocol, or broke one of its limits. The
// daemon closes such a connection without an answer.
var ErrProtocol = errors.New("not an authdaemon message")

// errIncomplete says that a message goes on after the bytes at hand.
var errIncomplete = errors.New("incomplete authdaemon message")

// EnumerateRequest asks for a list of all accounts.
type EnumerateRequest struct {
	// RemoteIP is the client's address for the module's log; empty = not known.
	RemoteIP string
}

// Request is what a client may ask an authdaemon: *AuthRequest, *LookupRequest, *PasswordRequest or
// *EnumerateRequest.
type Request any

// Login returns the user name of the request: User, or for the CRAM types the name in the Response. ok is
// false if a Response has no blank, or if the type is unknown.
func (r *AuthRequest) Login() (user string, ok bool) {
	switch r.Type {
	case AuthLogin:
		return r.User, true
	case AuthCRAMMD5, AuthCRAMSHA1, AuthCRAMSHA256:
		i := bytes.LastIndexByte(r.Response, ' ')
		if i < 0 {
			return "", false
		}
		return string(r.Response[:i]), true
	}
	return "", false
}

// HasControl tells whether s holds a byte below 0x20, which no value in the line-oriented authdaemon protocol
// may: it would break a line, or end a text of a program in C. All else can be carried, DEL included. What
// clients log in with is held to the stricter rules of package text.
func HasControl(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 {
			return true
		}
	}
	return false
}

// appendRequest appends the request as it goes over the wire. The error wraps [ErrRefused] when a value
// cannot be carried: control characters, a blank in a PRE service, or more than the daemon takes. No account
// is named so.
func appendRequest(dst []byte, req Request) ([]byte, error) {
	switch r := req.(type) {
	case *AuthRequest:
		return appendAuth(dst, r)
	case *LookupRequest:
		module := r.Module
		if module == "" {
			module = "."
		}
		if err := checkValues(r.RemoteIP, module, r.Service, r.User); err != nil {
			return dst, err
		}
		if strings.Contains(module, " ") || strings.Contains(r.Service, " ") || r.Service == "" || r.User == "" {
			return dst, refused("service or module name with a blank, or an empty name")
		}
		if r.User[0] == ' ' {
			return dst, refused("a blank in front of the name, which the daemon does not see")
		}
		dst = appendFresh(appendFacts(dst, r.RemoteIP), r.Fresh)
		return appendLine(dst, "PRE ", module, " ", r.Service, " ", r.User)
	case *PasswordRequest:
		if err := checkValues(r.RemoteIP, r.Service, r.User, r.OldPassword, r.NewPassword); err != nil {
			return dst, err
		}
		dst = appendFacts(dst, r.RemoteIP)
		return appendLine(dst, "PASSWD ", r.Service, "\t", r.User, "\t", r.OldPassword, "\t", r.NewPassword)
	case *EnumerateRequest:
		if err := checkValues(r.RemoteIP); err != nil {
			return dst, err
		}
		return append(appendFacts(dst, r.RemoteIP), "ENUMERATE\n"...), nil
	}
	return dst, fmt.Errorf("unknown request type %T", req)
}

// appendFacts appends what is known about the client.
func appendFacts(dst []byte, remoteIP string) []byte {
	if remoteIP == "" {
		return dst
	}
	dst = append(dst, "TCPREMOTEIP="...)
	dst = append(dst, remoteIP...)
	return append(dst, '\n')
}

// fresh is the fact that Fresh stands for. Courier's daemon does not know it, and skips it.
const fresh = "FRESH=1"

// appendFresh appends it.
func appendFresh(dst []byte, isFresh bool) []byte {
	if !isFresh {
		return dst
	}
	return append(dst, fresh+"\n"...)
}

// appendLine appends one line from its parts, unless the daemon would find it too long.
func appendLine(dst []byte, parts ...string) ([]byte, error) {
	start := len(dst)
	for _, part := range parts {
		dst = append(dst, part...)
	}
	if len(dst)-start > maxLine {
		return dst[:start], refused("request too long")
	}
	return append(dst, '\n'), nil
}

// appendAuth appends an AUTH request.
func appendAuth(dst []byte, r *AuthRequest) ([]byte, error) {
	if err := checkValues(r.RemoteIP, r.Service, r.User, r.Password); err != nil {
		return dst, err
	}
	if len(r.RemoteIP) > 256 {
		return dst, refused("address too long")
	}
	var first, second string
	switch r.Type {
	case AuthLogin:
		first, second = r.User, r.Password
	case AuthCRAMMD5, AuthCRAMSHA1, AuthCRAMSHA256:
		// The name inside the response is as good a place for a control character as any.
		if err := checkValues(string(r.Response)); err != nil {
			return dst, err
		}
		first = base64.StdEncoding.EncodeToString(r.Challenge)
		second = base64.StdEncoding.EncodeToString(r.Response)
	default:
		return dst, refused("unknown kind of authentication")
	}
	n := len(r.Service) + len(r.Type) + len(first) + len(second) + 4
	if n > maxAuthBody {
		return dst, refused("request too long")
	}
	dst = appendFresh(appendFacts(dst, r.RemoteIP), r.Fresh)
	dst = append(dst, "AUTH "...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	// The empty string ends the line of "AUTH <n>".
	for _, line := range [...]string{"", r.Service, string(r.Type), first, second} {
		dst = append(append(dst, line...), '\n')
	}
	return dst, nil
}

// checkValues refuses values that would break the line structure.
func checkValues(values ...string) error {
	for _, v := range values {
		if HasControl(v) {
			return refused("control character")
		}
	}
	return nil
}

// refused returns an error that is an [ErrRefused] with a reason.
func refused(why string) error { return fmt.Errorf("%s: %w", why, ErrRefused) }

// ReadRequest reads one request from r, which gets no more reads once the request is complete. The error is
// [ErrProtocol] for anything unintelligible or too long, io.ErrUnexpectedEOF for a client that went away, or
// r's own.
func ReadRequest(r io.Reader) (req Request, err error) {
	err = readMessage(r, MaxRequest, func(buf []byte) (err error) {
		req, err = ParseRequest(buf)
		return err
	})
	return req, err
}

// Incomplete tells whether err, from [ParseRequest], asks for more bytes.
func Incomplete(err error) bool { return err == errIncomplete }

// ParseRequest parses the request at the start of buf. The request does not refer to buf afterwards. When buf
// does not hold all of it yet, [Incomplete] is true of the error; [ErrProtocol] means that no further byte
// will help.
func ParseRequest(buf []byte) (Request, error) {
	req, _, err := parseRequest(buf)
	return req, err
}

// parseRequest is ParseRequest; rest is what follows the request in buf.
func parseRequest(buf []byte) (req Request, rest []byte, err error) {
	remoteIP, isFresh := "", false
	for {
		i := bytes.IndexByte(buf, '\n')
		if i > maxLine || i < 0 && len(buf) > maxLine {
			return nil, nil, ErrProtocol
		}
		if i < 0 {
			return nil, nil, errIncomplete
		}
		line := buf[:i]
		buf = buf[i+1:]
		if n, ok := bytes.CutPrefix(line, []byte("AUTH ")); ok {
			req, rest, err = parseAuth(n, buf, remoteIP)
			if auth, ok := req.(*AuthRequest); ok && err == nil {
				auth.Fresh = isFresh
			}
			return req, rest, err
		}
		if args, ok := bytes.CutPrefix(line, []byte("PRE ")); ok {
			req, err = parsePre(string(args), remoteIP)
			if look, ok := req.(*LookupRequest); ok && err == nil {
				look.Fresh = isFresh
			}
			return req, buf, err
		}
		if args, ok := bytes.CutPrefix(line, []byte("PASSWD ")); ok {
			req, err = parsePasswd(string(args), remoteIP)
			return req, buf, err
		}
		if string(line) == "ENUMERATE" {
			return &EnumerateRequest{RemoteIP: remoteIP}, buf, nil
		}
		isFresh = isFresh || string(line) == fresh
		name, value, ok := bytes.Cut(line, []byte("="))
		if !ok || len(name) == 0 || bytes.IndexByte(name, ' ') >= 0 {
			return nil, nil, ErrProtocol
		}
		if string(name) == "TCPREMOTEIP" {
			if remoteIP = string(value); HasControl(remoteIP) {
				return nil, nil, ErrProtocol
			}
		}
	}
}

// parseAuth parses what follows "AUTH ": a length, a newline, and in buf what has that length.
func parseAuth(length, buf []byte, remoteIP string) (req Request, rest []byte, err error) {
	n := 0
	for _, c := range length {
		if c < '0' || c > '9' || n > maxAuthBody {
			return nil, nil, ErrProtocol
		}
		n = n*10 + int(c-'0')
	}
	if len(length) == 0 || n > maxAuthBody {
		return nil, nil, ErrProtocol
	}
	if len(buf) < n {
		return nil, nil, errIncomplete
	}
	req, err = parseAuthBody(string(buf[:n]), remoteIP)
	return req, buf[n:], err
}

// parseAuthBody parses "<service>\n<authtype>\n<authdata>".
func parseAuthBody(body, remoteIP string) (Request, error) {
	service, rest, ok := strings.Cut(body, "\n")
	kind, rest, ok2 := strings.Cut(rest, "\n")
	if !ok || !ok2 {
		return nil, ErrProtocol
	}
	req := &AuthRequest{Service: service, Type: AuthType(kind), RemoteIP: remoteIP}
	first, rest, ok := strings.Cut(rest, "\n")
	// The last newline may be missing; what follows it is nobody's.
	second, _, _ := strings.Cut(rest, "\n")
	switch req.Type {
	case AuthLogin:
		if !ok {
			return nil, ErrProtocol
		}
		req.User, req.Password = first, second
		if HasControl(service) || HasControl(first) || HasControl(second) {
			return nil, ErrProtocol
		}
	case AuthCRAMMD5, AuthCRAMSHA1, AuthCRAMSHA256:
		if !ok {
			return nil, ErrProtocol
		}
		var err, err2 error
		req.Challenge, err = base64.StdEncoding.DecodeString(first)
		req.Response, err2 = base64.StdEncoding.DecodeString(second)
		if HasControl(service) {
			return nil, ErrProtocol
		}
		if err != nil || err2 != nil || HasControl(string(req.Response)) {
			// Intelligible, but no proof of anything: refused like a response without a name.
			req.Challenge, req.Response = nil, nil
		}
	default:
		// Unknown to us, but perhaps not to a module: it will be refused, not called unintelligible.
		if HasControl(service) || HasControl(kind) {
			return nil, ErrProtocol
		}
	}
	return req, nil
}

// parsePre parses "<module> <service> <user>" with one or more blanks in front of each. The user may contain
// blanks, or be missing, which is nobody's name.
func parsePre(args, remoteIP string) (Request, error) {
	module, rest, ok := strings.Cut(strings.TrimLeft(args, " "), " ")
	service, user, ok2 := strings.Cut(strings.TrimLeft(rest, " "), " ")
	user = strings.TrimLeft(user, " ")
	if !ok || !ok2 || HasControl(args) {
		return nil, ErrProtocol
	}
	if module == "." {
		module = ""
	}
	return &LookupRequest{Module: module, Service: service, User: user, RemoteIP: remoteIP}, nil
}

// parsePasswd parses "<service>\t<user>\t<old password>\t<new password>".
func parsePasswd(args, remoteIP string) (Request, error) {
	fields := strings.Split(args, "\t")
	if len(fields) != 4 {
		return nil, ErrProtocol
	}
	for _, f := range fields {
		if HasControl(f) {
			return nil, ErrProtocol
		}
	}
	return &PasswordRequest{Service: fields[0], User: fields[1], OldPassword: fields[2], NewPassword: fields[3],
		RemoteIP: remoteIP}, nil
}
