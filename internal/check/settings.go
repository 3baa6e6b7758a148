package check

import (
	"maps"
	"os"
	"slices"
	"strings"
)

// settings reports what is odd about the settings themselves.
func (c *Check) settings() {
	r, s := c.Report, c.Session.Settings
	if c.SettingsError != nil {
		for _, text := range strings.Split(c.SettingsError.Error(), "\n") {
			r.fail("settings", "%s", text)
		}
		return
	}
	r.ok("settings", "%d settings from %s", len(known)-c.unset(), strings.Join(c.Sources, ", "))
	for _, name := range slices.Sorted(maps.Keys(s)) {
		c.setting(name)
	}
	c.dangers()
}

// unset counts the known settings that are not set.
func (c *Check) unset() int {
	n := 0
	for name := range known {
		if _, ok := c.Session.Settings.Lookup(name); !ok {
			n++
		}
	}
	return n
}

// setting looks at one name. The environment is full of names that are none of ours, so only those that nearly are
// one, and those that Courier has and we do not, are worth a word.
func (c *Check) setting(name string) {
	if why, ok := ignored[name]; ok && c.Session.Settings.Get(name) != "" {
		c.Report.info("settings", "%s is ignored: %s", name, why)
		return
	}
	if isKnown(name) {
		return
	}
	if near := nearest(name); near != "" {
		c.Report.warn("settings", "%s is not a setting: is %s meant?", name, near)
	}
}

// dangers warns about what is allowed but unwise.
func (c *Check) dangers() {
	r, s := c.Report, c.Session.Settings
	protocol := c.Session.Protocol.Name
	if s.Number("DEBUG_LOGIN") > 1 {
		r.warn("settings", "DEBUG_LOGIN=%s: Courier's auth daemon writes passwords to its log", s.Get("DEBUG_LOGIN"))
	}
	encrypts := s.Yes(protocol+"_STARTTLS") || s.Number(protocol+"_TLS") != 0 || protocol == "IMAP" && s.Yes("IMAPDSTARTTLS")
	if !encrypts {
		r.warn("settings", "neither %s_STARTTLS=YES nor %s_TLS=1: clients send their passwords in clear text", protocol, protocol)
	} else if s.Number(protocol+"_TLS_REQUIRED") == 0 && s.Number(protocol+"_TLS") == 0 {
		r.info("settings", "%s_TLS_REQUIRED=0: clients may log in without TLS", protocol)
	}
	if s.Number("HAPROXY") != 0 && s.Get("HAPROXY_ALLOW") == "" {
		r.info("settings", "HAPROXY=1 without HAPROXY_ALLOW: only this machine's own balancer is believed")
	}
	for _, name := range []string{"TLS_CERTFILE", "TLS_PRIVATE_KEYFILE", "PROXY_MASTER_PASSWORD_FILE"} {
		path := s.Get(name)
		if path == "" {
			continue
		}
		st, err := os.Stat(path)
		switch {
		case err != nil && !encrypts && name != "PROXY_MASTER_PASSWORD_FILE":
			r.info("settings", "%s: %v; without TLS nobody needs it", name, err)
		case err != nil:
			r.fail("settings", "%s: %v", name, err)
		case st.Mode().Perm()&0o004 != 0:
			r.warn("settings", "%s=%s can be read by everybody: chmod 600 %s", name, path, path)
		}
	}
	if s.Get("PROXY_MASTER_USER") != "" && c.Session.Config.Mailhosts.Empty() {
		r.warn("settings", "PROXY_MASTER_USER without PROXY_MAILHOSTS: the master password is sent to whatever mailhost an account names")
	}
	if c.Session.Config.Proxy && s.Get("RELAY_SOCKET") == "" {
		r.info("settings", "RELAY_SOCKET is not set: each session keeps a process of its own while it lasts")
	}
}

// isKnown says whether a front end reads the setting.
func isKnown(name string) bool {
	if _, ok := known[name]; ok {
		return true
	}
	_, foreign := ignored[name]
	return foreign || others[name] || strings.HasPrefix(name, "AUTHSERVICE") && strings.Trim(name[len("AUTHSERVICE"):], "0123456789") == ""
}

// nearest returns the setting that name differs from by one or two letters, or "". Short names are left alone: in an
// environment there is always one that is near to something.
func nearest(name string) string {
	best, least := "", 3
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if len(candidate) < 7 {
			continue
		}
		if d := distance(name, candidate, least); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the Damerau-Levenshtein distance (adjacent letters swapped count as one), or limit when it is that much
// or more.
func distance(a, b string, limit int) int {
	if diff := len(a) - len(b); diff >= limit || -diff >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}
