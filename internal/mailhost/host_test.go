package mailhost

import (
	"slices"
	"strings"
	"testing"

	"mailproxy/internal/text"
)

func TestParseMailhosts(t *testing.T) {
	for option, want := range map[string][]Host{
		"":                              {},
		" ; ;":                          {},
		"mail.example.com":              {{"mail.example.com", ""}},
		"Mail-1_x.example.com.":         {{"Mail-1_x.example.com.", ""}},
		"host:1143":                     {{"host", "1143"}},
		"host:00143":                    {{"host", "143"}},
		"192.0.2.1":                     {{"192.0.2.1", ""}},
		"192.0.2.1:143":                 {{"192.0.2.1", "143"}},
		"2001:db8::1":                   {{"2001:db8::1", ""}},
		"[2001:db8::1]":                 {{"2001:db8::1", ""}},
		"[2001:DB8:0::1]:993":           {{"2001:db8::1", "993"}},
		"[::ffff:192.0.2.1]:143":        {{"::ffff:192.0.2.1", "143"}},
		"fe80::1%eth0":                  {{"fe80::1%eth0", ""}},
		"a;b":                           {{"a", ""}, {"b", ""}},
		"a b:2\t;; [::1]:3 ":            {{"a", ""}, {"b", "2"}, {"::1", "3"}},
		"1.2.3":                         {{"1.2.3", ""}},
		strings.Repeat("h ", maxHosts):  slices.Repeat([]Host{{"h", ""}}, maxHosts),
		strings.Repeat("a", 253) + ":1": {{strings.Repeat("a", 253), "1"}},
	} {
		got, err := ParseMailhosts(option)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", option, got, err, want)
		}
	}
	for option, want := range map[string]string{
		"host:":          `mailhost "host:": port "" is not a number from 1 to 65535`,
		"host:0":         `mailhost "host:0": port "0" is not a number from 1 to 65535`,
		"host:65536":     `mailhost "host:65536": port "65536" is not a number from 1 to 65535`,
		"host:imap":      `mailhost "host:imap": port "imap" is not a number from 1 to 65535`,
		"host:+143":      `mailhost "host:+143": port "+143" is not a number from 1 to 65535`,
		":143":           `mailhost ":143": no host name of 1 to 253 bytes`,
		"[::1":           `mailhost "[::1": brackets must hold an IPv6 address`,
		"[192.0.2.1]:1":  `mailhost "[192.0.2.1]:1": brackets must hold an IPv6 address`,
		"[host]":         `mailhost "[host]": brackets must hold an IPv6 address`,
		"[::1]143":       `mailhost "[::1]143": only :port may follow the brackets`,
		"[::1]:x":        `mailhost "[::1]:x": port "x" is not a number from 1 to 65535`,
		"h\r\nost":       `mailhost "h\r\nost": a host name cannot hold '\r'`,
		"h\xc3\xb6st":    `mailhost "höst": a host name cannot hold 'Ã'`,
		"ok;user@host":   `mailhost "user@host": a host name cannot hold '@'`,
		"-host":          `mailhost "-host": a host name cannot begin with '-'`,
		".host":          `mailhost ".host": a host name cannot begin with '.'`,
		"a:b:c":          `mailhost "a:b:c": port "b:c" is not a number from 1 to 65535`,
		"imap://host":    `mailhost "imap://host": port "//host" is not a number from 1 to 65535`,
		"fe80::1%a\nb":   `mailhost "fe80::1%a\nb": port ":1%a\nb" is not a number from 1 to 65535`,
		"/var/run/s":     `mailhost "/var/run/s": a host name cannot hold '/'`,
		manyHosts(17):    `17 mailhosts, at most 16 are allowed`,
		longHost(254):    `mailhost "` + longHost(254) + `": no host name of 1 to 253 bytes`,
		"good [bad] a:1": `mailhost "[bad]": brackets must hold an IPv6 address`,
	} {
		hosts, err := ParseMailhosts(option)
		if err == nil || err.Error() != want || hosts != nil {
			t.Errorf("%q: %v, error %v; want %s", option, hosts, err, want)
		}
	}
}

func manyHosts(n int) string { return strings.Repeat("h;", n) }
func longHost(n int) string  { return strings.Repeat("a", n) }

// What is written reads back as the same, and nothing in it can break a log line or a protocol.
func FuzzParseMailhosts(f *testing.F) {
	for _, seed := range []string{"", "a", "a:1;b", "[::1]:143 c", "::1", "x y z", "[::ffff:1.2.3.4]",
		"fe80::1%lo", "a:b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, option string) {
		hosts, err := ParseMailhosts(option)
		if err != nil {
			return
		}
		fields := make([]string, len(hosts))
		for i, h := range hosts {
			fields[i] = h.String()
			if !text.PlainName(fields[i]) || strings.ContainsAny(fields[i], " ;,") || h.Name == "" {
				t.Errorf("%q: host %q", option, fields[i])
			}
		}
		again, err := ParseMailhosts(strings.Join(fields, ";"))
		if err != nil || !slices.Equal(again, hosts) {
			t.Errorf("%q: %v, then %v, %v", option, hosts, again, err)
		}
	})
}
