package handoff_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// TestListedLine: what the list shows is one line of seven fields, whatever the names are.
func TestListedLine(t *testing.T) {
	start := time.Date(2026, 11, 26, 12, 0, 0, 5000, time.UTC)
	for _, tc := range []struct {
		info relay.Info
		want string
	}{
		{relay.Info{User: "ann", RemoteIP: "::ffff:192.0.2.7", RemotePort: "4711", Protocol: "IMAP",
			Mailhost: "mail1"},
			"ann\t[::ffff:192.0.2.7]:4711\tIMAP\tmail1"},
		{relay.Info{User: "a\tb\x1b[2J\n\u202e", RemoteIP: "2001:db8::7", RemotePort: "N/A", Mailhost: "m\x00"},
			"a\\011b\\033[2J\\012\\342\\200\\256\t[2001:db8::7]:N/A\t\tm\\000"},
		{relay.Info{}, "\t[]:\t\t"},
	} {
		tc.info.Start = start
		want := tc.want + "\t2026-11-26T12:00:00Z\t1\t2\n"
		l := handoff.List(tc.info, relay.Stats{FromClient: 1, FromMailhost: 2})
		if got := l.Line(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
		back, err := handoff.ParseListed(strings.TrimSuffix(l.Line(), "\n"))
		if err != nil || back != l {
			t.Errorf("%+v, %v, not %+v", back, err, l)
		}
	}
}

func TestParseListedErrors(t *testing.T) {
	const good = "ann\t[192.0.2.7]:1\tIMAP\tmail1\t2026-11-26T12:00:00Z\t1\t2"
	if _, err := handoff.ParseListed(good); err != nil {
		t.Fatal(err)
	}
	for _, replace := range [][2]string{
		{"ann", "an\x1bn"}, {"ann\t", "ann"}, {"ann", "ann\tx"}, {"[", ""}, {"]:", ""}, {"2026-", ""},
		{"\t1\t", "\t-1\t"}, {"\t2", "\t"}, {"mail1", "\u0085"},
	} {
		line := strings.Replace(good, replace[0], replace[1], 1)
		if l, err := handoff.ParseListed(line); !errors.Is(err, handoff.ErrSyntax) {
			t.Errorf("%q: %+v, %v", line, l, err)
		}
	}
}

// FuzzParseListed: what is read is written as it was.
func FuzzParseListed(f *testing.F) {
	f.Add("ann\t[::ffff:192.0.2.7]:4711\tIMAP\tmail1\t2026-11-26T12:00:00Z\t1\t2")
	f.Add("a]:\t[[]]:\t\t\t1970-01-01T00:00:00+01:00\t0\t9223372036854775807")
	f.Fuzz(func(t *testing.T, line string) {
		l, err := handoff.ParseListed(line)
		if err != nil {
			return
		}
		back, err := handoff.ParseListed(strings.TrimSuffix(l.Line(), "\n"))
		l.Start = l.Start.Truncate(time.Second)
		if err != nil || back != l || strings.Count(l.Line(), "\n") != 1 {
			t.Fatalf("%q becomes %+v and %q: %+v, %v", line, l, l.Line(), back, err)
		}
	})
}

func TestIsOf(t *testing.T) {
	v4 := relay.Info{User: "ann", RemoteIP: "::ffff:192.0.2.7"}
	v6 := relay.Info{User: "b\tb", RemoteIP: "2001:db8::7"}
	odd := relay.Info{User: "192.0.2.9", RemoteIP: "local"}
	for _, tc := range []struct {
		info relay.Info
		whom string
		want bool
	}{
		{v4, "ann", true}, {v4, "Ann", false}, {v4, "", false}, {relay.Info{}, "", false},
		{v4, "192.0.2.7", true}, {v4, "::ffff:192.0.2.7", true}, {v4, "192.0.2.70", false},
		{v6, "2001:DB8:0::7", true}, {v6, "2001:db8::", false}, {v6, "b\\011b", true}, {v6, "b\tb", true},
		{odd, "local", true}, {odd, "192.0.2.9", true}, {odd, "::", false},
	} {
		if got := handoff.IsOf(tc.info, tc.whom); got != tc.want {
			t.Errorf("%+v is of %q: %v", tc.info, tc.whom, got)
		}
	}
}
