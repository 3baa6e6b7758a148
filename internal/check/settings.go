package check

import (
	"maps"
	"slices"
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/login"
	"mailproxy/internal/spelling"
)

// settings reports what is odd about the settings themselves.
func (c *check) settings() {
	r := c.report
	if c.settingsError != nil {
		for _, text := range strings.Split(c.settingsError.Error(), "\n") {
			r.fail("settings", "%s", text)
		}
		return
	}
	switch n := c.count(); {
	case len(c.files) > 0:
		r.ok("settings", "%d settings from %s", n, strings.Join(c.files, ", "))
	case n > 0:
		r.ok("settings", "%d settings from the environment (-config FILE reads the files that the start script "+
			"reads)", n)
	default:
		r.warn("settings", "no -config FILE and no setting in the environment: what follows is about the "+
			"defaults; the "+
			"unit or start script names the files, such as -config /etc/mailproxy/%[1]s -config "+
			"/etc/mailproxy/%[1]s-ssl",
			strings.TrimSuffix(c.program, "-proxy"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.raw)) {
		c.setting(name)
	}
	c.dangers()
}

// count is how many of the settings that are read are set.
func (c *check) count() (n int) {
	for _, setting := range config.All() {
		if _, ok := c.raw.Lookup(setting.Name); ok && isRead(setting) {
			n++
		}
	}
	return n
}

// isRead says whether the front ends make anything of a setting.
func isRead(s config.Setting) bool { return s.Status == config.Used || s.Status == config.Launcher }

// setting looks at one name. Most names in the environment are not settings of ours, so only names similar to
// one, and settings that only Courier has, are reported.
func (c *check) setting(name string) {
	if s, known := config.Find(name); known {
		if s.Status == config.Ignored && c.raw.Get(name) != "" {
			c.report.info("settings", "%s is ignored: %s", name, s.Why)
		}
		return
	}
	if near := nearest(name); near != "" {
		c.report.warn("settings", "%s is not a setting: is %s meant?", name, near)
	}
}

// dangers warns about what is allowed but unwise.
func (c *check) dangers() {
	r, s := c.report, c.server.Config
	if s.Debug > 1 {
		r.warn("settings", "DEBUG_LOGIN=%d: Courier's auth daemon writes passwords to its log", s.Debug)
	}
	if err := s.PerConnection(); err != nil {
		r.warn("settings", "%v: only a resident program can start", err)
	}
	c.certificates()
	if s.Balancers != nil && !s.IsSet("HAPROXY_ALLOW") {
		r.info("settings", "HAPROXY=1 without HAPROXY_ALLOW: only this machine's own balancer is believed")
	}
	if s.Balancers != nil && s.Balancers.Loopback() && strings.EqualFold(s.TLS.External, "CN") {
		r.warn("settings", "TLS_EXTERNAL=%s: a PROXY header from an address of this machine is not believed the "+
			"certificate's name, as every user here can send one; a balancer here connects by a unix socket "+
			"(HAPROXY_ALLOW=@GROUP)", s.TLS.External)
	}
	if s.Local.Addr.IsValid() {
		r.warn("settings", "PROXY_LOCAL=%s: every user of this machine can connect there and say that a client "+
			"has any address; a unix socket (the unit's) is for the resident program alone", s.Local)
	}
	if s.MasterFile != "" {
		if _, err := login.MasterPassword(s); err != nil {
			r.fail("settings", "%v: logins at mailhosts fail for everybody", err)
		}
	}
	c.scramSecret()
	c.machine()
	if s.MasterUser != "" && s.Mailhosts.Empty() {
		r.warn(
			"settings",
			"PROXY_MASTER_USER without PROXY_MAILHOSTS: the master password is sent to whatever mailhost an "+
				"account names",
		)
	}
	if s.Proxy && s.RelaySocket == "" {
		r.info("settings", "RELAY_SOCKET is empty: each session keeps a process of its own while it lasts")
	}
}

// nearest returns the setting that name differs from by one or two letters, or "". Short names are left
// alone: in an environment there is always one that is near to something.
func nearest(name string) string {
	var names []string
	for _, candidate := range config.All() {
		if isRead(candidate) && len(candidate.Name) >= 7 {
			names = append(names, candidate.Name)
		}
	}
	return spelling.Nearest(name, names)
}
