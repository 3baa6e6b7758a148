package ops

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"mailproxy/tests/clients"
	"mailproxy/tests/harness"
)

// nameServer answers for one name on the island's name server address, as a name server with several A
// records does: all of them each time, beginning with another one. It returns how often it was asked.
func nameServer(t *testing.T, addr, name string, ips ...string) *atomic.Int64 {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	asked := new(atomic.Int64)
	var question []byte
	for label := range strings.SplitSeq(name+".", ".") {
		question = append(append(question, byte(len(label))), label...)
	}
	go func() {
		p := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(p)
			if err != nil {
				return
			}
			// A question is 12 bytes of header, the name in labels, type and class (RFC 1035 section 4.1);
			// what follows, of EDNS, is not answered.
			if n < 12 {
				continue
			}
			end := 12 + bytes.IndexByte(p[12:n], 0) + 1 + 4
			if n < end {
				continue
			}
			answer := append([]byte{}, p[:end]...)
			copy(answer[2:], []byte{0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}) // an authoritative answer to one question
			asksA := answer[end-3] == 1
			switch {
			case !bytes.EqualFold(answer[12:end-4], question):
				answer[3] = 3 // no such name
			case asksA:
				first := int(asked.Add(1))
				answer[7] = byte(len(ips))
				for i := range ips {
					ip := netip.MustParseAddr(ips[(first+i)%len(ips)]).As4()
					answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0,
						4) // the name of the question, A, IN, 300 s, 4 bytes
					answer = append(answer, ip[:]...)
				}
			}
			_, _ = conn.WriteTo(answer, from)
		}
	}()
	return asked
}

// TestSeveralAddresses: what docs/high-availability.md says of a name with several addresses. Clients spread
// over the proxies behind it, and when one of these refuses connections every client here goes to the other
// one by itself.
func TestSeveralAddresses(t *testing.T) {
	oneMailbox(t)
	harness.Hosts(t)
	machines, trust := startMachines(t, nil, "127.0.5.1", "127.0.5.2")
	asked := nameServer(t, "127.0.0.53:53", "mail.example.com", "127.0.5.1", "127.0.5.2")
	everybody := func() {
		t.Helper()
		for _, c := range clients.All() {
			// Twice, with the other address first.
			for range 2 {
				if err := reads(t, c, clients.FromStart, trust); err != nil {
					t.Error(err)
				}
			}
		}
	}
	everybody()
	for _, m := range machines {
		if m.logins() < len(clients.All())/2 {
			t.Errorf("%d logins at %s", m.logins(), m.ip)
		}
	}
	machines[0].kill(t)
	before := machines[1].logins()
	everybody()
	if n := machines[1].logins() - before; n < 2*len(clients.All()) {
		t.Errorf("%d logins at the proxy that is left", n)
	}
	if asked.Load() < int64(4*len(clients.All())) {
		t.Errorf("the name server was asked %d times", asked.Load())
	}
}
