package mailhost

import "testing"

func TestLimitHops(t *testing.T) {
	for _, test := range []struct {
		said []string
		left int
	}{
		{nil, 4}, {[]string{"4"}, 3}, {[]string{"1"}, 0}, {[]string{"0"}, -1}, {[]string{"5"}, 4}, {[]string{"99"},
			4}, {[]string{"1", "4"}, 0},
		{[]string{"", "-1", "x", "1e0", "99999999999999999999"}, 4},
	} {
		var hops Hops
		for _, text := range test.said {
			hops.Limit(text)
		}
		if hops.Left() != test.left {
			t.Errorf("%q: %d left, want %d", test.said, hops.Left(), test.left)
		}
	}
}
