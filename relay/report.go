package relay

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/peercred"
	"mailproxy/relay/internal/wire"
)

// Result is what became of a login.
type Result string

// The results that relayd counts.
const (
	LoginOK        Result = "ok"        // logged in at a mailhost
	LoginLocal     Result = "local"     // the account is on this machine: its server goes on
	LoginRefused   Result = "refused"   // by the auth module or by the mailhost
	LoginDisabled  Result = "disabled"  // the account may not use this service
	LoginTemporary Result = "temporary" // nobody could tell, or no mailhost was to be had
	LoginLimit     Result = "limit"     // refused by a limit of relayd's, which counts it by itself
)

// Failure is one attempt to use a mailhost that did not lead to a login.
type Failure struct {
	Mailhost string // as in the account's mailhost option, without a port
	Step     string // "resolve", "connect", "tls", ..., "rejected"
}

// Report is how one login went, for relayd's counters.
type Report struct {
	Protocol string // "IMAP" or "POP3"
	Result   Result
	Mailhost string        // the last one asked; empty = none was
	Took     time.Duration // from the credentials to the answer, without the delay of failed logins
	Failures []Failure
}

// maxFailures bounds what one report tells of: an account may have many mailhosts, each many addresses.
const maxFailures = 32

// Send gives the report to the relayd that listens on socket, and waits for nothing: not for a place in a listen queue that
// is full, and for no answer. Who listens must be root, this process's own user or one of users. The error, for the curious, is why it did not arrive: mostly that there is no relayd.
func (r *Report) Send(socket string, users ...string) error {
	m := &wire.Message{Verb: "REPORT", Fields: map[string]string{
		"PROTOCOL": visible(r.Protocol), "RESULT": string(r.Result), "MAILHOST": visible(r.Mailhost),
	}}
	maps.Copy(m.Fields, r.fields())
	p, err := m.Encode()
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
	if err == nil {
		err = peercred.ListenerFD(fd, users...)
	}
	if err == nil {
		err = unix.Send(fd, p, unix.MSG_NOSIGNAL)
	}
	return errors.Join(err, unix.Close(fd))
}

// fields are what a TAKE message carries of a report too; its other fields tell the rest. A nil report has none.
func (r *Report) fields() map[string]string {
	if r == nil {
		return nil
	}
	m := map[string]string{"LOGIN_US": strconv.FormatInt(max(r.Took.Microseconds(), 0), 10)}
	var failed strings.Builder
	for i, f := range r.Failures {
		if i == maxFailures {
			break
		}
		if i > 0 {
			failed.WriteByte(',')
		}
		failed.WriteString(visible(f.Mailhost) + "/" + visible(f.Step))
	}
	if failed.Len() > 0 {
		m["FAILED"] = failed.String()
	}
	return m
}
