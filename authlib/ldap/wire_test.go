package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"mailproxy/authlib"
)

// TestFilter reads filters back: whatever a name holds, it is one value.
func TestFilter(t *testing.T) {
	for _, user := range []string{"anna@example.com", "*", ")(mail=*", `\2a`, "a\x00b", "ü", "(&)", ""} {
		p, err := goldap.CompileFilter(and("(objectClass=mailAccount)", equal("mail", user)))
		if err != nil {
			t.Errorf("%q: %v", user, err)
			continue
		}
		if len(p.Children) != 2 || !isEqual(p.Children[1], "mail", user) {
			t.Errorf("%q changed the filter: %x", user, p.Bytes())
		}
	}
	if f := and("", equal("a", "b")); f != "(a=b)" {
		t.Errorf("no filter of the settings: %s", f)
	}
}

// isEqual tells whether a filter is (attribute=value).
func isEqual(p *ber.Packet, attribute, value string) bool {
	return p.Tag == goldap.FilterEqualityMatch && len(p.Children) == 2 &&
		p.Children[0].Data.String() == attribute &&
		p.Children[1].Data.String() == value
}

// FuzzFilter checks that an e-mail map's filter keeps its shape whatever an address holds.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"a", "*", ")(x=*", `\2a`, "@realm@", "@user@", "\x00", "ü", "("} {
		f.Add(s, "example.com")
		f.Add("user", s)
	}
	c := &settings{emailmap: "(&(userid=@user@)(|(realm=@realm@)(alias=*)))"}
	f.Fuzz(func(t *testing.T, user, realm string) {
		p, err := goldap.CompileFilter(c.mapFilter(user, realm))
		if err != nil {
			t.Fatalf("%q, %q: %v", user, realm, err)
		}
		if len(p.Children) != 2 || len(p.Children[1].Children) != 2 {
			t.Fatalf("%q, %q changed the filter: %x", user, realm, p.Bytes())
		}
		if !isEqual(p.Children[0], "userid", user) || !isEqual(p.Children[1].Children[0], "realm", realm) {
			t.Fatalf("%q, %q changed the filter: %x", user, realm, p.Bytes())
		}
	})
}

// server is a directory whose only server answers every connection with what talk says.
func server(t testing.TB, conns int, talk func(net.Conn)) *directory {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				talk(c)
			}()
		}
	}()
	d := &directory{settings: &settings{uris: []string{"ldap://" + l.Addr().String()}, base: "b",
		tls:     &tls.Config{},
		timeout: 300 * time.Millisecond}}
	d.searches = newConnections(conns, sharing,
		func(ctx context.Context) (*conn, error) { return d.connect(ctx, false) })
	t.Cleanup(d.searches.Close)
	return d
}

// reply makes the messages that answer message id: an entry for each mail, then the result.
func reply(id int64, code int, mails ...string) (b []byte) {
	message := func(op *ber.Packet) {
		p := ber.NewSequence("")
		p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
		p.AppendChild(op)
		b = append(b, p.Bytes()...)
	}
	text := func(s string) *ber.Packet {
		return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
	}
	for _, mail := range mails {
		op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
		op.AppendChild(text("mail=" + mail))
		list, one, set := ber.NewSequence(""), ber.NewSequence(""), ber.Encode(ber.ClassUniversal,
			ber.TypeConstructed, ber.TagSet, nil, "")
		set.AppendChild(text(mail))
		one.AppendChild(text("mail"))
		one.AppendChild(set)
		list.AppendChild(one)
		op.AppendChild(list)
		message(op)
	}
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultDone, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	op.AppendChild(text(""))
	op.AppendChild(text("because"))
	message(op)
	return b
}

// request reads a request and returns its number; 0 at the end.
func request(c net.Conn) int64 {
	p, err := ber.ReadPacket(c)
	if err != nil || len(p.Children) == 0 {
		return 0
	}
	id, _ := p.Children[0].Value.(int64)
	return id
}

// TestOne: what a search for one entry makes of answers, and after which the connection is used again.
func TestOne(t *testing.T) {
	for _, test := range []struct {
		name        string
		code        int
		mails       []string
		want        string // the entry's name, "" or a part of the error
		kept, again bool   // the connection is kept, the question was put twice on a connection that had been used
	}{
		{"none", 0, nil, "", true, false},
		{"one", 0, []string{"a"}, "mail=a", true, false},
		{"two", 0, []string{"a", "b"}, "more than one", true, false},
		{"more", goldap.LDAPResultSizeLimitExceeded, []string{"a", "b"}, "more than one", true, false},
		{"no base", goldap.LDAPResultNoSuchObject, nil,
			`search below "b": LDAP Result Code 32 "No Such Object": because`, true, false},
		{"no rights", goldap.LDAPResultInsufficientAccessRights, nil, "Code 50", true, false},
		{"bind is gone", goldap.LDAPResultOperationsError, nil, "Code 1 ", false, true},
		{"busy", goldap.LDAPResultBusy, nil, "Code 51", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			connected, asked := make(chan bool, 100), make(chan bool, 100)
			d := server(t, 1, func(c net.Conn) {
				connected <- true
				first := true
				for id := request(c); id > 0; id = request(c) {
					if first && len(connected) == 1 { // so that the connection has been used before
						c.Write(reply(id, 0))
					} else {
						asked <- true
						c.Write(reply(id, test.code, test.mails...))
					}
					first = false
				}
			})
			q := &query{base: "b", filter: "(mail=a)"}
			if e, err := d.entry(context.Background(), q); !errors.Is(err, authlib.ErrRefused) {
				t.Fatal(e, err)
			}
			e, err := d.entry(context.Background(), q)
			got := ""
			switch {
			case err == nil:
				got = e.DN
			case !errors.Is(err, authlib.ErrRefused):
				got = err.Error()
			}
			if got != test.want && (err == nil || test.want == "" || !strings.Contains(got, test.want)) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if twice := len(asked) == 2; twice != test.again {
				t.Errorf("asked %d times", len(asked))
			}
			last := <-d.searches.slots[0]
			d.searches.slots[0] <- last
			if kept := !last.conn.ldap.IsClosing(); kept != test.kept {
				t.Errorf("connection kept: %v", kept)
			}
		})
	}
}

// TestRefused: a bind that is refused for another reason than the password says why in the log, and is
// refused all the same.
func TestRefused(t *testing.T) {
	for _, test := range []struct {
		code uint16
		text string
		want string // "" = not refused
	}{
		{goldap.LDAPResultInvalidCredentials, "", "no such account, or wrong password"},
		{goldap.LDAPResultInvalidCredentials,
			"80090308: LdapErr: DSID-0C09042F, comment: AcceptSecurityContext error, data 52e, v2580",
			"no such account, or wrong password"},
		{goldap.LDAPResultInvalidCredentials,
			"80090308: LdapErr: DSID-0C09042F, comment: AcceptSecurityContext error, data 532, v2580",
			`password or account expired: account "ann": the password has expired: ` +
				`LDAP Result Code 49 "Invalid Credentials": 8009`},
		{goldap.LDAPResultInvalidCredentials, "AcceptSecurityContext error, data 775, v2580",
			`account locked or disabled: account "ann": the account is locked: `},
		{goldap.LDAPResultUnwillingToPerform, "account inactivated",
			`account locked or disabled: account "ann": LDAP Result Code 53 `},
		{goldap.LDAPResultInsufficientAccessRights, "no access",
			`account locked or disabled: account "ann": LDAP Result Code 50 `},
		{goldap.LDAPResultInvalidDNSyntax, "", `account locked or disabled: account "ann": LDAP Result Code 34 `},
		{goldap.LDAPResultOther, "", ""}, {goldap.LDAPResultUnavailable, "", ""},
	} {
		err := refused("ann", goldap.NewError(test.code, errors.New(test.text)))
		if errors.Is(err, authlib.ErrRefused) != (test.want != "") || test.want != "" &&
			!strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%d %q: %v", test.code, test.text, err)
		}
	}
	if err := refused("ann", nil); err != nil {
		t.Error(err)
	}
}

// TestCRAM: a response is wrong only when it has been compared with a clear password.
func TestCRAM(t *testing.T) {
	d := &directory{settings: &settings{cryptPW: "hash", clearPW: "clear"}}
	for _, test := range []struct {
		hash, clear string
		want        error
	}{
		{"{SHA}x", "", authlib.ErrNoSecret}, {"", "", authlib.ErrNoSecret}, {"!{SHA}x", "", authlib.ErrRefused},
		{"{SHA}x", "secret", authlib.ErrRefused}, {"{PLAIN}secret", "", authlib.ErrRefused},
	} {
		e := goldap.NewEntry("cn=ann", map[string][]string{"hash": {test.hash}, "clear": {test.clear}})
		err := d.cramMatches(&authlib.Account{Address: "ann", CryptPassword: test.hash}, e, &authlib.AuthRequest{
			Type: authlib.AuthCRAMMD5, Response: []byte("ann " + strings.Repeat("0", 32))})
		if !errors.Is(err, test.want) || errors.Is(err, authlib.ErrNoSecret) != (test.want == authlib.ErrNoSecret) {
			t.Errorf("%q, %q: %v", test.hash, test.clear, err)
		}
	}
}

// FuzzMessages lets a server answer a search with anything: no panic, and the connection is given up unless
// the answer was in order.
func FuzzMessages(f *testing.F) {
	f.Add(reply(1, 0))
	f.Add(reply(1, 0, "a"))
	f.Add([]byte("\x30\x84\x00\x00\x00\x0c\x02\x01\x01\x65\x07\x0a\x01\x31\x04\x00\x04\x00"))
	f.Add([]byte("\x30\x80\x02"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			request(theirs)
			_, _ = theirs.Write(answer)
		}()
		c := &conn{ldap: goldap.NewConn(ours, false), net: ours, limit: time.Second}
		c.ldap.Start()
		defer c.close()
		result, err := c.search(context.Background(), goldap.NewSearchRequest("b", 2, 0, 2, 1, false, "(a=b)",
			[]string{"m"}, nil))
		var said *goldap.Error
		var lost *lostError
		switch {
		case err == nil && result == nil:
			t.Fatal("neither result nor error")
		case err != nil && !errors.As(err, &lost) &&
			!(errors.As(err, &said) && said.ResultCode < goldap.ErrorNetwork):
			t.Fatalf("the connection would be used again after %v", err)
		}
	})
}

func TestTarget(t *testing.T) {
	for uri, want := range map[string]string{
		"ldap://h": "tcp h:389 h", "ldap://h/": "tcp h:389 h", "ldaps://h:1/": "tcp h:1 h",
		"ldap://[::1]:2":     "tcp [::1]:2 ::1",
		"ldapi://%2Frun%2Fx": "unix /run/x localhost", "ldapi:///": "unix /run/slapd/ldapi localhost",
		"ldap:///": "tcp localhost:389 localhost",
		"http://h": "error", "h": "error",
	} {
		network, addr, host, err := target(uri)
		got := network + " " + addr + " " + host
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("target(%q) = %s, want %s", uri, got, want)
		}
	}
}
