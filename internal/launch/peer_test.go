package launch

import (
	"net"
	"net/netip"
	"reflect"
	"testing"

	"mailproxy/internal/config"
)

type addressed struct {
	net.Conn
	local, remote net.Addr
}

func (a addressed) LocalAddr() net.Addr  { return a.local }
func (a addressed) RemoteAddr() net.Addr { return a.remote }

func peer(remoteIP, remotePort, localIP, localPort string) Peer {
	return Peer{RemoteIP: remoteIP, RemotePort: remotePort, LocalIP: localIP, LocalPort: localPort}
}

// What couriertls says of the client's TLS is the peer's; without it nothing is believed.
func TestPeerTLS(t *testing.T) {
	conn := addressed{local: pipeAddr("in"), remote: pipeAddr("out")}
	told := NewPeer(config.Environment([]string{"TLS_CONNECTED_PROTOCOL=TLS1.3,256bits,X",
		"TLS_SUBJECT_CN=joe"}), conn)
	if !told.TLS.Encrypted() || told.TLS.External("cn") != "joe" {
		t.Errorf("%+v", told.TLS)
	}
	silent := NewPeer(config.Environment([]string{"TLS_SUBJECT_CN=joe"}), conn)
	if silent.TLS.Encrypted() || silent.TLS.External("cn") != "" {
		t.Errorf("%+v", silent.TLS)
	}
}

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
		{"couriertcpd", []string{"TCPREMOTEIP=::ffff:192.0.2.9", "TCPREMOTEPORT=1", "TCPLOCALIP=::ffff:192.0.2.8",
			"TCPLOCALPORT=2"},
			none, peer("::ffff:192.0.2.9", "1", "::ffff:192.0.2.8", "2")},
		{"tcpserver", []string{"TCPREMOTEIP=192.0.2.9", "TCPREMOTEPORT=1"},
			v4, peer("192.0.2.9", "1", "::ffff:192.0.2.1", "143")},
		{"systemd", []string{"REMOTE_ADDR=192.0.2.9", "REMOTE_PORT=1"},
			v4, peer("::ffff:192.0.2.9", "1", "::ffff:192.0.2.1", "143")},
		{"systemd v6", []string{"REMOTE_ADDR=2001:db8::9", "REMOTE_PORT=1"},
			v6, peer("2001:db8::9", "1", "2001:db8::1", "143")},
		{"xinetd's REMOTE_HOST is not ours", []string{"REMOTE_ADDR=garbage"},
			v4, peer("::ffff:192.0.2.7", "5000", "::ffff:192.0.2.1", "143")},
		{"socket", nil, v4, peer("::ffff:192.0.2.7", "5000", "::ffff:192.0.2.1", "143")},
		{"socket v6", nil, v6, peer("fe80::7", "5000", "2001:db8::1", "143")},
		{"socket mapped", nil, mapped, peer("::ffff:192.0.2.7", "5000", "::ffff:192.0.2.1", "143")},
		{"nothing", nil, none, peer("127.0.0.1", "N/A", "", "")},
		{"empty variables", []string{"TCPREMOTEIP=", "TCPREMOTEPORT="}, none, peer("127.0.0.1", "N/A", "", "")},
	} {
		if got := NewPeer(config.Environment(test.s), test.conn); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
