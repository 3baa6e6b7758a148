package resident

import (
	"errors"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/login"
	"mailproxy/internal/mailhost"
	"mailproxy/internal/maillog"
	"mailproxy/internal/text"
)

// newHealth makes what keeps mailhosts that do not answer from holding up logins at others, and has the log
// tell of them: a line when one goes and when it comes back, and none for each login that is turned away.
func newHealth(c *config.Config, log *maillog.Log) *mailhost.Health {
	return mailhost.NewHealth(c.MailhostLogins, c.MailhostRetry, time.Now, mailhost.Events{
		Down: func(m mailhost.Mailhost, err error) {
			step := mailhost.StepConnect
			if at, ok := errors.AsType[*mailhost.StepError](err); ok {
				step, err = at.Step, at.Err
			}
			log.Warnf("MAILHOST DOWN, mailhost=%s, address=%s, step=%s: %s",
				text.Field(m.Host), m.Addr, step, text.Field(login.Cause(err)))
		},
		Up: func(m mailhost.Mailhost, since time.Duration, turnedAway int) {
			log.Noticef("MAILHOST UP, mailhost=%s, address=%s, down=%d, turned-away=%d",
				text.Field(m.Host), m.Addr, since/time.Second, turnedAway)
		},
		Busy: func(m mailhost.Mailhost, turnedAway int) {
			log.Warnf("MAILHOST BUSY, mailhost=%s, address=%s, turned-away=%d: PROXY_MAILHOST_LOGINS=%d",
				text.Field(m.Host), m.Where(), turnedAway, c.MailhostLogins)
		},
		Unresolved: func(host string, err error) {
			log.Warnf("MAILHOST UNRESOLVED, mailhost=%s: %s: its last addresses are used",
				text.Field(host), text.Field(login.Cause(err)))
		},
		Resolved: func(host string, silent time.Duration) {
			log.Noticef("MAILHOST RESOLVED, mailhost=%s, unresolved=%d", text.Field(host), silent/time.Second)
		},
	})
}
