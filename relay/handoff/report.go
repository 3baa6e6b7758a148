package handoff

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
)

// maxFailures bounds what one report tells of: an account may have many mailhosts, each many addresses.
const maxFailures = 32

// putReport writes what a CARRY message tells of a login too; its other fields tell the rest.
func putReport(fields map[string]string, r *relay.Report) {
	if r == nil {
		return
	}
	fields["LOGIN_US"] = strconv.FormatInt(max(r.Took.Microseconds(), 0), 10)
	var failed []string
	for _, f := range r.Failures[:min(len(r.Failures), maxFailures)] {
		failed = append(failed, visible(f.Mailhost)+"/"+visible(f.Step))
	}
	if len(failed) > 0 {
		fields["FAILED"] = strings.Join(failed, ",")
	}
}

// Report tells relayd how a login went that became no session. It waits for nothing: not for a place in a listen queue that
// is full, and for no answer. The error is informational; mostly there is no relayd.
func (c *Client) Report(r *relay.Report) error {
	m := &Message{Verb: "REPORT", Fields: map[string]string{
		"PROTOCOL": visible(r.Protocol), "RESULT": string(r.Result), "MAILHOST": visible(r.Mailhost),
	}}
	putReport(m.Fields, r)
	p, err := m.Encode()
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: c.Socket})
	if err == nil {
		err = unix.Send(fd, p, unix.MSG_NOSIGNAL)
	}
	return errors.Join(err, unix.Close(fd))
}
