package limits

import "testing"

func TestShare(t *testing.T) {
	for _, test := range []struct{ all, wanted, logins, sessions int }{
		{20000, 10000, 9872, 4936},
		{65536, 10000, 10000, 27640},
		{1024, 10000, 384, 192},
		{64, 10000, 24, 12},
		{1 << 20, 1, 1, 524159},
	} {
		logins, sessions := share(test.all, test.wanted)
		if logins != test.logins || sessions != test.sessions {
			t.Errorf("%d descriptors, MAXUNAUTH=%d: %d and %d, want %d and %d",
				test.all, test.wanted, logins, sessions, test.logins, test.sessions)
		}
	}
}
