package frontend

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/haproxy"
	"mailproxy/internal/launch"
	"mailproxy/internal/maillog"
	"mailproxy/tests/logintest"
	"mailproxy/tests/relaytest"
)

// tcpPair returns the two ends of a TCP connection over loopback.
func tcpPair(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	return relaytest.TCP(t, 0)
}

// testConn is a connection to a server without an auth module.
func testConn(
	t *testing.T, p *Protocol, c *config.Config, log *maillog.Log, conn launch.Conn, peer launch.Peer,
) *Conn {
	t.Helper()
	server, err := New(Options{Protocol: p, Config: c, Log: log, Auth: logintest.NewAuth()})
	if err != nil {
		t.Fatal(err)
	}
	return server.newConn(conn, peer)
}

func TestAcceptHeader(t *testing.T) {
	client, server := netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:143")
	v1, err := haproxy.Format(1, client, server)
	if err != nil {
		t.Fatal(err)
	}
	told := launch.Peer{RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711", LocalIP: "::ffff:192.0.2.1",
		LocalPort: "143"}
	cases := []struct {
		name, allow, sent string
		env               []string     // what the launcher said
		peer              *launch.Peer // nil = as the socket says
		left              string
		check             bool
		age               time.Duration
		log               string // part of the one line that ends the session; empty = it goes on
	}{
		{name: "v1", allow: haproxy.DefaultSources, sent: string(v1) + "a NOOP\r\n", peer: &told,
			left: "a NOOP\r\n"},
		{name: "not allowed", allow: "192.0.2.0/24", sent: "a NOOP\r\n", left: "a NOOP\r\n"},
		{name: "health check", allow: haproxy.DefaultSources, sent: "PROXY UNKNOWN\r\na NOOP\r\n",
			left: "a NOOP\r\n", check: true},
		{name: "missing", allow: haproxy.DefaultSources, sent: "a LOGIN joe secret\r\n",
			log: "WARN: HAPROXY=1, but no PROXY header from 127.0.0.1:"},
		{name: "bare check", allow: haproxy.DefaultSources,
			log: "DEBUG: Disconnected, ip=[::ffff:127.0.0.1], port=["},
		{name: "a client that gave up", allow: haproxy.DefaultSources, age: 10 * time.Second,
			log: "WARN: HAPROXY=1, but no PROXY header from 127.0.0.1:"},
		{name: "the launcher took it", allow: haproxy.DefaultSources, sent: "a NOOP\r\n", left: "a NOOP\r\n",
			env: []string{"TCPREMOTEIP=::ffff:192.0.2.7", "TCPREMOTEPORT=4711", "TCPLOCALIP=::ffff:192.0.2.1",
				"TCPLOCALPORT=143"}, peer: &told},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs := tcpPair(t)
			if _, err := io.WriteString(theirs, c.sent); err != nil {
				t.Fatal(err)
			}
			theirs.CloseWrite()
			var log bytes.Buffer
			environ := append([]string{"HAPROXY=1", "HAPROXY_ALLOW=" + c.allow}, c.env...)
			protocol := &imap
			loaded, err := config.Load(nil, environ, config.IMAP)
			if err != nil {
				t.Fatal(err)
			}
			s := testConn(t, protocol, loaded, maillog.NewLog(&log), ours, launch.NewPeer(loaded.Raw(), ours))
			s.Started = s.Started.Add(-c.age)
			want := s.Peer
			if c.peer != nil {
				want = *c.peer
			}
			err = s.acceptHeader()
			if (err != nil) != (c.log != "") || !strings.HasPrefix(log.String(), c.log) ||
				strings.Contains(log.String(), "secret") {
				t.Fatalf("%v, log %q", err, log.String())
			}
			if err != nil {
				return
			}
			if !reflect.DeepEqual(s.Peer, want) {
				t.Errorf("peer %+v, want %+v", s.Peer, want)
			}
			if s.HealthCheck != c.check {
				t.Errorf("health check: %v", s.HealthCheck)
			}
			if left, _ := io.ReadAll(ours); string(left) != c.left {
				t.Errorf("left in the connection: %q, want %q", left, c.left)
			}
		})
	}
}

// TestAcceptHeaderTLS: a balancer that ended the client's TLS says so, and nothing that was there before is
// believed. The name of a certificate is believed where not every local user could have sent it.
func TestAcceptHeaderTLS(t *testing.T) {
	body := []byte{192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x67, 0, 143}
	tls := "\x07\x00\x00\x00\x00\x21\x00\x07TLSv1.3\x22\x00\x03joe"
	body = append(body, 0x20, 0, byte(len(tls)))
	body = append(body, tls...)
	header := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00"), byte(len(body)))
	const warning = "WARN: TLS_EXTERNAL: the certificate's name in a PROXY header from 127.0.0.1 is not believed"
	for _, test := range []struct {
		name, allow, external string
		unix                  bool
		proven, log           string
	}{
		{name: "loopback", allow: "127.0.0.0/8", external: "cn", log: warning},
		{name: "loopback without TLS_EXTERNAL", allow: "127.0.0.0/8"},
		{name: "unix socket", allow: "@0", external: "CN", unix: true, proven: "joe"},
	} {
		ours, theirs := launch.Conn(nil), launch.Conn(nil)
		if test.unix {
			ours, theirs = namedSocket(t)
		} else {
			ours, theirs = tcpPair(t)
		}
		if _, err := theirs.Write(append(header, body...)); err != nil {
			t.Fatal(err)
		}
		environ := []string{"HAPROXY=1", "HAPROXY_ALLOW=" + test.allow, "TLS_EXTERNAL=" + test.external,
			"TLS_SUBJECT_O=forged"}
		loaded, err := config.Load(nil, environ, config.IMAP)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s := testConn(t, &imap, loaded, maillog.NewLog(&log), ours, launch.NewPeer(loaded.Raw(), ours))
		if err := s.acceptHeader(); err != nil {
			t.Fatal(err)
		}
		if err := s.beginTLS(t.Context()); err != nil || !s.TLS {
			t.Errorf("%s: TLS in front of us is not recognised: %v, %v", test.name, s.TLS, err)
		}
		if got := s.ExternalName(); got != test.proven {
			t.Errorf("%s: EXTERNAL is offered to %q, want %q", test.name, got, test.proven)
		}
		if !strings.HasPrefix(log.String(), test.log) || (log.Len() > 0) != (test.log != "") {
			t.Errorf("%s: log %q", test.name, log.String())
		}
		// The local server gets it by the names that couriertls uses.
		e := map[string]string{}
		for _, entry := range s.localEnviron(&authlib.Account{}, nil) {
			name, value, _ := strings.Cut(entry, "=")
			e[name] = value
		}
		if e["IMAP_TLS"] != "1" || e["TLS_CONNECTED_PROTOCOL"] != "TLSv1.3" || e["TLS_SUBJECT_CN"] != test.proven ||
			e["TLS_SUBJECT_O"] != "" ||
			e["TCPREMOTEIP"] != "::ffff:192.0.2.7" || e["TCPREMOTEPORT"] != "4711" {
			t.Errorf("%s: the local server's environment %v", test.name, e)
		}
	}
}

// namedSocket returns the two ends of a connection to a unix socket: the one accepted, and the other.
func namedSocket(t *testing.T) (accepted, dialed launch.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); d.Close() })
	return a.(launch.Conn), d.(launch.Conn)
}

// An address that is not this machine's is a balancer's own; what every local user can send from is not.
func TestIsOfThisMachine(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::ffff:127.0.0.1": true, "192.0.2.77": false,
	} {
		if got := isOfThisMachine(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}
