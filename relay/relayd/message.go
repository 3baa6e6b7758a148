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

// offer is a session as a message describes it.
type offer struct {
	info  relay.Info
	keep  time.Duration
	tuned bool  // the sockets' options are right already
	half  int32 // seconds
}

// offerFrom reads a message and looks at the descriptors beside it, one for each leg.
func offerFrom(m *wire.Message, fds []int) (*offer, error) {
	o := &offer{half: int32(relay.DefaultHalfClosed / time.Second)}
	if len(fds) != 2 {
		return nil, fmt.Errorf("%d descriptors instead of 2", len(fds))
	}
	start, err := strconv.ParseInt(m.Fields["START"], 10, 64)
	if err != nil {
		return nil, errors.New("START is not a time")
	}
	o.tuned = m.Fields["KEEPALIVE"] == keepTuned
	keep, err := strconv.Atoi(m.Fields["KEEPALIVE"])
	if !o.tuned && (err != nil || keep < 0) {
		return nil, errors.New("KEEPALIVE is not a number of seconds")
	}
	o.keep = time.Duration(keep) * time.Second
	if text, ok := m.Fields["HALFCLOSED"]; ok { // a front end of before does not know it
		half, err := strconv.ParseInt(text, 10, 32)
		if err != nil || half < 0 {
			return nil, errors.New("HALFCLOSED is not a number of seconds")
		}
		o.half = int32(half)
	}
	for _, fd := range fds {
		kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		if err != nil || kind != unix.SOCK_STREAM {
			return nil, errors.New("not a stream socket")
		}
	}
	o.info = relay.Info{User: m.Fields["USER"], Protocol: m.Fields["PROTOCOL"], RemoteIP: m.Fields["IP"],
		RemotePort: m.Fields["PORT"], Mailhost: m.Fields["MAILHOST"], Start: time.Unix(start, 0)}
	return o, loggable(o.info)
}

func loggable(i relay.Info) error {
	for _, f := range []string{i.User, i.Protocol, i.RemoteIP, i.RemotePort, i.Mailhost} {
		if len(f) > 1024 || strings.ContainsFunc(f, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return errors.New("a name that can not be logged")
		}
	}
	return nil
}

// session makes a session of an offer and the two descriptors that came with it.
func (o *offer) session(fds []int) *session {
	x := newSession(o.info, pump.End{FD: fds[client]}, pump.End{FD: fds[mailhost]})
	x.half = o.half
	if !o.tuned {
		relay.Tune(fds[client], o.keep)
		relay.Tune(fds[mailhost], o.keep)
	}
	return x
}
