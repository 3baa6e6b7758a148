package handoff

import (
	"errors"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/text"
	"mailproxy/relay"
)

// putReport writes what a CARRY message tells of a login too; its other fields tell the rest.
func putReport(fields map[string]string, r *relay.Report) {
	if r == nil {
		return
	}
	fields["LOGIN_US"] = strconv.FormatInt(max(r.Took.Microseconds(), 0), 10)
	for name, value := range map[string]string{"LOGIN_MECHANISM": r.Mechanism, "LOGIN_TLS": r.TLS} {
		if value != "" {
			fields[name] = text.Line(value)
		}
	}
	var failed []string
	for _, f := range r.Failures[:min(len(r.Failures), relay.MaxFailures)] {
		failed = append(failed, text.Line(f.Mailhost)+"/"+text.Line(string(f.Step)))
	}
	if len(failed) > 0 {
		fields["FAILED"] = strings.Join(failed, ",")
	}
}

// ParseReport reads the fields about the login of a REPORT or CARRY message, without its result. The caller
// checks the names.
func ParseReport(fields map[string]string) (*relay.Report, error) {
	r := &relay.Report{Protocol: fields["PROTOCOL"], Mailhost: fields["MAILHOST"],
		Mechanism: fields["LOGIN_MECHANISM"], TLS: fields["LOGIN_TLS"]}
	us, err := strconv.ParseInt(fields["LOGIN_US"], 10, 64)
	if err != nil || us < 0 || us > math.MaxInt64/1000 {
		return nil, errors.New("LOGIN_US is not a number of microseconds")
	}
	r.Took = time.Duration(us) * time.Microsecond
	failed := fields["FAILED"]
	if failed == "" {
		return r, nil
	}
	for part := range strings.SplitSeq(failed, ",") {
		name, step, ok := strings.Cut(part, "/")
		if !ok {
			return nil, errors.New("FAILED is not a list of mailhost/step")
		}
		r.Failures = append(r.Failures, relay.Failure{Mailhost: name, Step: relay.Step(step)})
	}
	return r, nil
}

// Report tells relayd the result of a login without a session. It does not block: if relayd's listen queue is
// full it fails, and there is no answer. The error is informational; the usual one is that relayd does not
// run.
func (c *Client) Report(r *relay.Report) error {
	m := &Message{Verb: Report, Fields: map[string]string{
		"PROTOCOL": text.Line(r.Protocol), "RESULT": string(r.Result), "MAILHOST": text.Line(r.Mailhost),
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
