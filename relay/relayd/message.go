package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/internal/pump"
	"mailproxy/relay/internal/wire"
)

// sessionFrom makes a session of a SESSION message and its two descriptors, which stay the caller's when there is an error.
func sessionFrom(m *wire.Message, fds []int) (*session, error) {
	if len(fds) != 2 {
		return nil, fmt.Errorf("%d descriptors instead of 2", len(fds))
	}
	start, err := strconv.ParseInt(m.Fields["START"], 10, 64)
	if err != nil {
		return nil, errors.New("START is not a time")
	}
	tuned := m.Fields["KEEPALIVE"] == keepTuned
	keep, err := strconv.Atoi(m.Fields["KEEPALIVE"])
	if !tuned && (err != nil || keep < 0) {
		return nil, errors.New("KEEPALIVE is not a number of seconds")
	}
	half := int64(relay.DefaultHalfClosed / time.Second)
	if text, ok := m.Fields["HALFCLOSED"]; ok { // a front end of before does not know it
		if half, err = strconv.ParseInt(text, 10, 32); err != nil || half < 0 {
			return nil, errors.New("HALFCLOSED is not a number of seconds")
		}
	}
	for _, fd := range fds {
		kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		if err != nil || kind != unix.SOCK_STREAM {
			return nil, errors.New("not a stream socket")
		}
		if !tuned {
			relay.Tune(fd, time.Duration(keep)*time.Second)
		}
	}
	i := relay.Info{User: m.Fields["USER"], Protocol: m.Fields["PROTOCOL"], RemoteIP: m.Fields["IP"],
		RemotePort: m.Fields["PORT"], Mailhost: m.Fields["MAILHOST"], Start: time.Unix(start, 0)}
	for _, f := range []string{i.User, i.Protocol, i.RemoteIP, i.RemotePort, i.Mailhost} {
		if len(f) > 1024 || strings.ContainsFunc(f, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return nil, errors.New("a name that can not be logged")
		}
	}
	x := newSession(i, pump.End{FD: fds[0]}, pump.End{FD: fds[1]})
	x.half = int32(half)
	return x, nil
}
