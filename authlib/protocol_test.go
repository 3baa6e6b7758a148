package authlib

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// id returns a pointer to n.
func id(n uint32) *uint32 { return &n }

// goodRequests are requests with their bytes on the wire.
var goodRequests = []struct {
	wire string
	req  Request
}{
	{"AUTH 25\nimap\nlogin\nann\nsecret pw\n", &AuthRequest{Service: "imap", Type: AuthLogin, User: "ann",
		Password: "secret pw"}},
	{"TCPREMOTEIP=::ffff:192.0.2.7\nAUTH 16\npop3\nlogin\nann\n\n",
		&AuthRequest{Service: "pop3", Type: AuthLogin, User: "ann", RemoteIP: "::ffff:192.0.2.7"}},
	{"AUTH 36\nimap\ncram-md5\nPDFAeD4=\nYSBiIDAwZmY=\n",
		&AuthRequest{Service: "imap", Type: AuthCRAMMD5, Challenge: []byte("<1@x>"), Response: []byte("a b 00ff")}},
	{"PRE . imap a b\n", &LookupRequest{Service: "imap", User: "a b"}},
	{"TCPREMOTEIP=::1\nFRESH=1\nPRE . imap a\n",
		&LookupRequest{Service: "imap", User: "a", RemoteIP: "::1", Fresh: true}},
	{"FRESH=1\nAUTH 16\npop3\nlogin\nann\n\n",
		&AuthRequest{Service: "pop3", Type: AuthLogin, User: "ann", Fresh: true}},
	{"PRE authldap esmtp ünï\n", &LookupRequest{Module: "authldap", Service: "esmtp", User: "ünï"}},
	{"PASSWD imap\tann\told pw\tnew\n", &PasswordRequest{Service: "imap", User: "ann", OldPassword: "old pw",
		NewPassword: "new"}},
	{"PASSWD imap\tann\t\tnew\n", &PasswordRequest{Service: "imap", User: "ann", NewPassword: "new"}},
	{"ENUMERATE\n", &EnumerateRequest{}},
	{"TCPREMOTEIP=::1\nENUMERATE\n", &EnumerateRequest{RemoteIP: "::1"}},
}

func TestRequests(t *testing.T) {
	for _, test := range goodRequests {
		wire, err := appendRequest(nil, test.req)
		if string(wire) != test.wire || err != nil {
			t.Errorf("AppendRequest(%+v) = %q, %v", test.req, wire, err)
		}
		for _, r := range []io.Reader{strings.NewReader(test.wire),
			iotest.OneByteReader(strings.NewReader(test.wire)),
			iotest.DataErrReader(strings.NewReader(test.wire)), strings.NewReader(test.wire + "trailing")} {
			got, err := ReadRequest(r)
			if err != nil || !reflect.DeepEqual(got, test.req) {
				t.Errorf("ReadRequest(%q) = %+v, %v", test.wire, got, err)
			}
		}
		// Nothing is complete before its last byte, but for AUTH's last newline, which the length does not need.
		for n := range test.wire {
			if _, err := ParseRequest([]byte(test.wire[:n])); !Incomplete(err) {
				t.Errorf("ParseRequest(%q) = %v, want incomplete", test.wire[:n], err)
			}
		}
	}
}

func TestReadRequestOdd(t *testing.T) {
	long := strings.Repeat("x", maxAuthBody-len("imap\nlogin\n\n"))
	for wire, want := range map[string]Request{
		// Facts that nobody knows, in any number; the last newline of an AUTH body may be missing.
		"FOO=bar\nTCPREMOTEIP=1.2.3.4\nX=\nPRE . imap a\n": &LookupRequest{Service: "imap", User: "a",
			RemoteIP: "1.2.3.4"},
		"PRE   authldap  imap   a  b \n": &LookupRequest{Module: "authldap", Service: "imap",
			User: "a  b "},
		"PRE . imap \n": &LookupRequest{Service: "imap"},
		"AUTH 16\nimap\nlogin\na\nbcd": &AuthRequest{Service: "imap", Type: AuthLogin,
			User: "a", Password: "bcd"},
		"AUTH 18\nimap\nlogin\na\nb\nxyz": &AuthRequest{Service: "imap", Type: AuthLogin,
			User: "a", Password: "b"},
		"AUTH 13\nimap\nfoo\na\nb\n":             &AuthRequest{Service: "imap", Type: "foo"},
		"AUTH 22\nimap\ncram-md5\n***\n***\n":    &AuthRequest{Service: "imap", Type: AuthCRAMMD5},
		"AUTH 25\nimap\ncram-md5\nPA==\nYQ1h\nx": &AuthRequest{Service: "imap", Type: AuthCRAMMD5},
		"AUTH 8191\nimap\nlogin\n\n" + long: &AuthRequest{Service: "imap", Type: AuthLogin,
			Password: long},
		"PRE . imap " + strings.Repeat("x", maxLine-11) +
			"\n": &LookupRequest{Service: "imap", User: strings.Repeat("x", maxLine-11)},
	} {
		if got, err := ReadRequest(strings.NewReader(wire)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ReadRequest(%.60q) = %+v, %v", wire, got, err)
		}
	}
	for _, wire := range []string{
		"HELLO\n", "\n", "PRE\n", "PRE x\n", "PRE  imap a\n", "PRE . imap\n",
		"AUTH\n", "AUTH \n", "AUTH x\n", "AUTH -1\n", "AUTH 1x\n",
		"AUTH 8192\n", "AUTH 99999999999999999999\n", "AUTH 5\nimap\n", "AUTH 11\nimap\nlogin\n", "ENUMERATE x\n",
		"enumerate\n", "=x\n", "A B=c\n",
		"PASSWD imap\ta\tb\n", "PASSWD imap\ta\tb\tc\td\n", "PASSWD imap\ta\x01\tb\tc\n", "PRE . imap a\rb\n",
		"AUTH 14\nimap\nlogin\na\x00\nb",
		"TCPREMOTEIP=\x01\nENUMERATE\n",
		strings.Repeat("x", maxLine+1), "PRE . imap " + strings.Repeat("x", maxLine-10) +
			"\n", strings.Repeat("A=b\n", MaxRequest),
	} {
		if got, err := ReadRequest(strings.NewReader(wire)); err != ErrProtocol {
			t.Errorf("ReadRequest(%.60q) = %+v, %v", wire, got, err)
		}
	}
	for wire, want := range map[string]error{"": io.ErrUnexpectedEOF, "PRE": io.ErrUnexpectedEOF,
		"AUTH 20\nimap": io.ErrUnexpectedEOF} {
		if _, err := ReadRequest(strings.NewReader(wire)); err != want {
			t.Errorf("ReadRequest(%q): %v, want %v", wire, err, want)
		}
	}
}

func TestAppendRequestRefuses(t *testing.T) {
	for _, req := range []Request{
		&AuthRequest{Service: "imap", Type: AuthLogin, User: "a\nb", Password: "c"},
		&AuthRequest{Service: "imap", Type: AuthLogin, User: "a", Password: "c\x00"},
		&AuthRequest{Service: "im\tap", Type: AuthLogin, User: "a", Password: "c"},
		&AuthRequest{Service: "imap", Type: AuthLogin, User: "a", Password: "c", RemoteIP: "1\n2"},
		&AuthRequest{Service: "imap", Type: AuthLogin, User: "a", Password: strings.Repeat("x", maxAuthBody-13)},
		&AuthRequest{Service: "imap", Type: AuthCRAMMD5, Response: []byte("a\x1fb 00")},
		&AuthRequest{Service: "imap", Type: "foo"},
		&LookupRequest{Service: "imap", User: "a\rb"},
		&LookupRequest{Service: "imap", User: ""},
		&LookupRequest{Service: "im ap", User: "a"},
		&LookupRequest{Service: "imap", User: strings.Repeat("x", maxLine-10)},
		&PasswordRequest{Service: "imap", User: "a", OldPassword: "b\tc", NewPassword: "d"},
		&PasswordRequest{Service: "imap", User: "a", OldPassword: "b", NewPassword: strings.Repeat("x", maxLine)},
		&EnumerateRequest{RemoteIP: "\n"},
	} {
		if wire, err := appendRequest(nil, req); !errors.Is(err, ErrRefused) || len(wire) != 0 {
			t.Errorf("AppendRequest(%+v) = %.40q, %v", req, wire, err)
		}
	}
	// Every byte below 0x20, and no other.
	for c := range 256 {
		_, err := appendRequest(nil, &LookupRequest{Service: "imap", User: "a" + string([]byte{byte(c)})})
		if (err != nil) != (c < 0x20) {
			t.Errorf("byte %#x: %v", c, err)
		}
	}
}

func TestAccounts(t *testing.T) {
	full := &Account{SystemUser: "ann", UID: id(1000), GID: id(1001), Home: "/home/ann", Address: "ann@x",
		FullName: "Ann Ä", Maildir: "M d", Quota: "1S",
		CryptPassword: "$1$", ClearPassword: "pw=.", Options: "a=b,c"}
	wire := "USERNAME=ann\nUID=1000\nGID=1001\nHOME=/home/ann\nADDRESS=ann@x\nNAME=Ann Ä\nMAILDIR=M d\n" +
		"QUOTA=1S\nPASSWD=$1$\nPASSWD2=pw=.\nOPTIONS=a=b,c\n.\n"
	if got, err := AppendAccount(nil, full); string(got) != wire || err != nil {
		t.Errorf("AppendAccount = %q, %v", got, err)
	}
	for text, want := range map[string]*Account{
		wire: full, ".\n": {}, "FOO=bar\nHOME=/h\nPASSWD=\n.\n": {Home: "/h"},
	} {
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)),
			iotest.DataErrReader(strings.NewReader(text))} {
			if got, err := readAccount(r); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("ReadAccount(%q) = %+v, %v", text, got, err)
			}
		}
	}
	for text, want := range map[string]error{
		"FAIL\n": ErrRefused, "HOME=/h\nFAIL\n": ErrRefused, "": io.ErrUnexpectedEOF, "FAIL": io.ErrUnexpectedEOF,
		"HOME=/h\n":  io.ErrUnexpectedEOF,
		"HELLO\n.\n": ErrProtocol, "HOME=\x01\n.\n": ErrProtocol,
		"* BYE\r\n": ErrProtocol, strings.Repeat("A=b\n", maxAnswer): ErrProtocol,
	} {
		if got, err := readAccount(strings.NewReader(text)); err != want {
			t.Errorf("ReadAccount(%.40q) = %+v, %v; want %v", text, got, err, want)
		}
	}
	// A value that ends like the answer does is not its end.
	got, err := readAccount(iotest.OneByteReader(strings.NewReader("HOME=/FAIL\nQUOTA=FAIL\n.\n")))
	if err != nil || got.Home != "/FAIL" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := AppendAccount(nil, &Account{ClearPassword: "geheim\n"}); err == nil ||
		strings.Contains(err.Error(), "geheim") {
		t.Errorf("AppendAccount took a newline: %v", err)
	}
}

func TestListings(t *testing.T) {
	text := "# authuserdb\n\nann@x\t1\t2\t/h\tMaildir\ta=b\nbob\t3\t4\t/b\t\t\n# authldap\n\n" +
		"old\t5\t6\t/o\t\n.\n"
	var names []string
	var wire []byte
	err := readListing(iotest.OneByteReader(strings.NewReader(text)), func(a *Account) (err error) {
		names = append(names, a.Address+":"+strconv.Itoa(int(*a.UID)))
		wire, err = AppendListing(wire, a)
		return err
	})
	if got := strings.Join(names, " "); got != "ann@x:1 bob:3 old:5" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if want := "ann@x\t1\t2\t/h\tMaildir\ta=b\nbob\t3\t4\t/b\t\t\nold\t5\t6\t/o\t\t\n"; string(wire) != want {
		t.Errorf("AppendListing: %q", wire)
	}
	for text, want := range map[string]error{
		"a\tx\t2\t/h\t\n.\n": nil, "": io.ErrUnexpectedEOF, "# x\n\n": io.ErrUnexpectedEOF,
		"a\t1\t2\t/h\t\n": io.ErrUnexpectedEOF, "FAIL\n": ErrRefused, "hello\n": ErrProtocol,
		"\t1\t2\t/h\t\n": ErrProtocol, "a\t1\t2\t/\x01\t\n": ErrProtocol, strings.Repeat("x",
			maxAnswer+1): ErrProtocol,
	} {
		if err := readListing(strings.NewReader(text), func(*Account) error { return nil }); err != want {
			t.Errorf("ReadListing(%.40q): %v, want %v", text, err, want)
		}
	}
	for _, a := range []*Account{{}, {Address: "a"}, {Address: "#", UID: id(1), GID: id(1)},
		{Address: ".", UID: id(1), GID: id(1)},
		{Address: "a\tb", UID: id(1), GID: id(1)}, {Address: "a", UID: id(1), GID: id(1), Options: "x\n"}} {
		if wire, err := AppendListing(nil, a); err == nil {
			t.Errorf("AppendListing(%+v) = %q", a, wire)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, r := range goodRequests {
		f.Add([]byte(r.wire))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := ParseRequest(data)
		if again, err2 := ReadRequest(iotest.OneByteReader(bytes.NewReader(data))); err == nil &&
			(err2 != nil || !reflect.DeepEqual(req, again)) {
			t.Errorf("byte by byte: %+v, %v; at once: %+v", again, err2, req)
		}
		if err != nil {
			return
		}
		// What was read can be written, and reads the same.
		wire, err := appendRequest(nil, req)
		if errors.Is(err, ErrRefused) {
			return // an unknown authtype, an empty CRAM response
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseRequest(wire)
		if err != nil {
			t.Fatalf("%q -> %q: %v", data, wire, err)
		}
		if a, ok := req.(*AuthRequest); ok && a.Type != AuthLogin {
			b := again.(*AuthRequest)
			if !bytes.Equal(a.Challenge, b.Challenge) || !bytes.Equal(a.Response, b.Response) {
				t.Errorf("%q -> %q", data, wire)
			}
			return
		}
		if !reflect.DeepEqual(req, again) {
			t.Errorf("%+v -> %q -> %+v", req, wire, again)
		}
	})
}

// TestRefusals: why somebody is refused travels in a line that other clients ignore.
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		err  error
		wire string
	}{
		{ErrRefused, "FAIL\n"},
		{fmt.Errorf("%w: account %q: no entry", ErrRefused, "ann"), "FAIL\n"},
		{fmt.Errorf("%w: account %q: data 532", ErrExpired, "ann"), "REFUSED=EXPIRED\nFAIL\n"},
		{fmt.Errorf("%w: account %q: data 775", ErrLocked, "ann"), "REFUSED=CONTACTADMIN\nFAIL\n"},
		{fmt.Errorf("%w: more than 512 bytes", ErrTooLong), "REFUSED=LIMIT\nFAIL\n"},
		{fmt.Errorf("%w: account %q", ErrNoSecret, "ann"), "REFUSED=CANNOT\nFAIL\n"},
	} {
		wire := string(AppendRefusal(nil, test.err))
		if wire != test.wire {
			t.Errorf("AppendRefusal(%v) = %q", test.err, wire)
		}
		_, err := readAccount(iotest.OneByteReader(strings.NewReader(wire)))
		for _, kind := range []error{ErrRefused, ErrExpired, ErrLocked, ErrTooLong, ErrNoSecret} {
			if errors.Is(err, kind) != errors.Is(test.err, kind) {
				t.Errorf("%q: %v is %v: %v", wire, err, kind, errors.Is(err, kind))
			}
		}
	}
	if _, err := readAccount(strings.NewReader("REFUSED=SOMETHING NEW\nFAIL\n")); err != ErrRefused {
		t.Errorf("a reason that is not known: %v", err)
	}
	if _, err := readAccount(strings.NewReader("REFUSED=EXPIRED\n")); err != io.ErrUnexpectedEOF {
		t.Errorf("a reason without an answer: %v", err)
	}
}

func FuzzReadAccount(f *testing.F) {
	f.Add([]byte("UID=1000\nGID=1\nHOME=/h\nADDRESS=a\nOPTIONS=x=y\n.\n"))
	f.Add([]byte("FAIL\n"))
	f.Add([]byte("REFUSED=EXPIRED\nFAIL\n"))
	f.Add([]byte("PASSWD2=FAIL\n.\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := readAccount(bytes.NewReader(data))
		b, err2 := readAccount(iotest.OneByteReader(bytes.NewReader(data)))
		if err == nil && (err2 != nil || !reflect.DeepEqual(a, b)) {
			t.Errorf("at once %+v, byte by byte %+v, %v", a, b, err2)
		}
		if err != nil {
			return
		}
		wire, err := AppendAccount(nil, a)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := readAccount(bytes.NewReader(wire)); err != nil || !reflect.DeepEqual(a, again) {
			t.Errorf("%+v -> %q -> %+v, %v", a, wire, again, err)
		}
	})
}

func FuzzReadListing(f *testing.F) {
	f.Add([]byte("# authuserdb\n\na\t1\t2\t/h\tm\to=1\n.\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = readListing(bytes.NewReader(data), func(a *Account) error {
			wire, err := AppendListing(nil, a)
			if err != nil {
				return nil // a name that cannot be listed, such as "."
			}
			if again, err := parseListing(strings.TrimSuffix(string(wire), "\n")); err != nil ||
				!reflect.DeepEqual(a, again) {
				t.Errorf("%+v -> %q -> %+v, %v", a, wire, again, err)
			}
			return nil
		})
	})
}
