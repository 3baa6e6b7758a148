package check

import "mailproxy/internal/tlsconf"

// certificates looks at what TLS with clients and with mailhosts needs.
func (c *check) certificates() {
	r, s, protocol := c.report, c.server.Config, c.server.Protocol.Name
	if s.Proxy { // an account may have mailhosttls where PROXY_TLS=NO
		if _, err := tlsconf.NewClient(s.Mailhost, "mailhost"); err != nil {
			r.fail("settings", "%v", err)
		}
	}
	switch {
	case s.StartTLS || s.Encrypted:
	case s.TLSRequired && s.Balancers == nil:
		r.fail("settings", "%s_TLS_REQUIRED=1, but neither %s_STARTTLS=YES nor %s_TLS=1: nobody can log in",
			protocol, protocol, protocol)
		return
	case s.TLSRequired:
		r.warn("settings", "%s_TLS_REQUIRED=1, but neither %s_STARTTLS=YES nor %s_TLS=1: "+
			"nobody can log in but clients whose TLS ends at the balancer (HAProxy's send-proxy-v2-ssl)",
			protocol, protocol, protocol)
		return
	default:
		r.warn("settings", "neither %s_STARTTLS=YES nor %s_TLS=1: clients send their passwords in clear text",
			protocol, protocol)
		return
	}
	if !s.TLSRequired && !s.Encrypted {
		r.info("settings", "%s_TLS_REQUIRED=0: clients may log in without TLS", protocol)
	}
	all := s.TLSRequired || s.Encrypted
	broken := false
	for _, f := range tlsconf.Inspect(tlsconf.Options{TLS: s.TLS}, c.servers...) {
		switch {
		case f.Grade == tlsconf.GradeOK:
			r.ok("certificate", "%s", f.Text)
		case f.Grade == tlsconf.GradeBroken && all:
			broken = true
			r.fail("certificate", "%s", f.Text)
		default:
			broken = broken || f.Grade == tlsconf.GradeBroken
			r.warn("certificate", "%s", f.Text)
		}
	}
	switch {
	case broken && s.TLSRequired:
		r.fail("settings", "%s_TLS_REQUIRED=1: clients that do not take this certificate cannot log in", protocol)
	case broken && !all:
		r.warn("settings", "%s_STARTTLS=YES does not work: clients log in without TLS", protocol)
	}
}
