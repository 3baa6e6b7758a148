package mailhost

import "testing"

// What mailhosts are told of a client's address: nothing that they could take for something else.
func TestEndpoint(t *testing.T) {
	for _, c := range []struct{ ip, port, addr, number string }{
		{"::ffff:192.0.2.7", "5000", "192.0.2.7", "5000"},
		{"192.0.2.7", "N/A", "192.0.2.7", ""},
		{"2001:db8::1", "0143", "2001:db8::1", "143"},
		{"fe80::1%eth0", "65536", "fe80::1", ""},
		{"fe80::1%x\r\nQUIT", "-1", "fe80::1", ""},
		{"example.com", "1\r\n", "", ""},
		{"", "", "", ""},
	} {
		if addr, number := Endpoint(c.ip, c.port); addr != c.addr || number != c.number {
			t.Errorf("%q, %q: %q, %q", c.ip, c.port, addr, number)
		}
	}
}
