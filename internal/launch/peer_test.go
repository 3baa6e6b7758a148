package launch

import (
	"net"
	"net/netip"
	"testing"

	"mailproxy/internal/config"
)

type addressed struct {
	net.Conn
	local, remote net.Addr
}

func (a addressed) LocalAddr() net.Addr  { return a.local }
func (a addressed) RemoteAddr() net.Addr { return a.remote }

func TestPeer(t *testing.T) {
	tcp := func(addr string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)) }
	v4 := addressed{local: tcp("192.0.2.1:143"), remote: tcp("192.0.2.7:5000")}
	v6 := addressed{local: tcp("[2001:db8::1]:143"), remote: tcp("[fe80::7%lo]:5000")}
	mapped := addressed{local: tcp("[::ffff:192.0.2.1]:143"), remote: tcp("[::ffff:192.0.2.7]:5000")}
	none := addressed{local: pipeAddr("in"), remote: pipeAddr("out")}
	for _, test := range []struct {
		name string
		s    []string
		conn net.Conn
		want Peer
	}{
		{"couriertcpd", []string{"TCPREMOTEIP=::ffff:192.0.2.9", "TCPREMOTEPORT=1", "TCPLOCALIP=::ffff:192.0.2.8", "TCPLOCALPORT=2"},
			none, Peer{"::ffff:192.0.2.9", "1", "::ffff:192.0.2.8", "2"}},
		{"tcpserver", []string{"TCPREMOTEIP=192.0.2.9", "TCPREMOTEPORT=1"},
			v4, Peer{"192.0.2.9", "1", "::ffff:192.0.2.1", "143"}},
		{"systemd", []string{"REMOTE_ADDR=192.0.2.9", "REMOTE_PORT=1"},
			v4, Peer{"::ffff:192.0.2.9", "1", "::ffff:192.0.2.1", "143"}},
		{"systemd v6", []string{"REMOTE_ADDR=2001:db8::9", "REMOTE_PORT=1"},
			v6, Peer{"2001:db8::9", "1", "2001:db8::1", "143"}},
		{"xinetd's REMOTE_HOST is not ours", []string{"REMOTE_ADDR=garbage"},
			v4, Peer{"::ffff:192.0.2.7", "5000", "::ffff:192.0.2.1", "143"}},
		{"socket", nil, v4, Peer{"::ffff:192.0.2.7", "5000", "::ffff:192.0.2.1", "143"}},
		{"socket v6", nil, v6, Peer{"fe80::7", "5000", "2001:db8::1", "143"}},
		{"socket mapped", nil, mapped, Peer{"::ffff:192.0.2.7", "5000", "::ffff:192.0.2.1", "143"}},
		{"nothing", nil, none, Peer{"127.0.0.1", "N/A", "", ""}},
		{"empty variables", []string{"TCPREMOTEIP=", "TCPREMOTEPORT="}, none, Peer{"127.0.0.1", "N/A", "", ""}},
	} {
		if got := NewPeer(config.Environment(test.s), test.conn); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
