package handoff

import (
	"errors"
	"net"
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

// Report tells relayd how a login went that became no session. It waits for nothing: not for a place in a
// listen queue that is full, and for no answer. The error is informational; mostly there is no relayd.
func (c *Client) Report(r *relay.Report) error {
	m := &Message{Verb: "REPORT", Fields: map[string]string{
		"PROTOCOL": visible(r.Protocol), "RESULT": string(r.Result), "MAILHOST": visible(r.Mailhost),
	}}
	putReport(m.Fields, r)
	p, err := m.Encode()
	if err != nil {
		return err
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: c.Socket})
	if err != nil {
		return err
	}
	if conn, err = c.trust(conn); err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	werr := raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), p, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil)
		return true
	})
	return errors.Join(werr, err)
}
