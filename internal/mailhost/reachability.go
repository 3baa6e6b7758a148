package mailhost

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"mailproxy/internal/config"
	"mailproxy/internal/connection"
)

// reachability is what a login says of the mailhost itself, whatever it means for the account.
type reachability int

const (
	unknown  reachability = iota // nothing: the fault is ours, or the login was broken off
	answered                     // it has answered; a refusal is an answer
	absent                       // it has not: refused, unreachable, timed out, no greeting
)

// answerError is an error of a login that the mailhost has answered.
type answerError interface {
	error
	// Answered tells it from others.
	Answered()
}

// classify derives a mailhost's state from the error of a login and the time that it took. PROXY_LOCAL is
// never absent: there is no alternative to it, an attempt costs nothing on this machine, and the
// administrator who restarts it expects logins at once.
func (d *Dialer) classify(ctx context.Context, m *Conn, err error, took time.Duration) reachability {
	var at *StepError
	_, isAnswer := errors.AsType[answerError](err)
	_, isHungUp := errors.AsType[*HungUpError](err) // on something that it was told after its greeting
	switch {
	case err == nil, isAnswer, isHungUp:
		return answered
	case !errors.As(err, &at):
		return unknown
	case !d.hasNotAnswered(m, at.Step):
		return answered
	case !isSilence(err) && at.Step == StepConnect:
		return unknown // no file descriptors, no ports, a firewall of our own
	case !isSilence(err) && ctx.Err() == nil:
		return answered // a certificate that is not trusted, something else than a greeting
	case m.Local, ctx.Err() != nil && !d.hadItsTime(ctx, took):
		return unknown
	}
	return absent
}

// hasNotAnswered says whether a mailhost that fails at this step has said nothing yet.
func (d *Dialer) hasNotAnswered(m *Conn, step Step) bool {
	tlsFirst := d.mode(m.Mode) == config.ModeTLS
	return step == StepConnect || step == StepGreeting || step == StepTLS && tlsFirst
}

// hadItsTime says whether a mailhost that had not answered when ctx ended had time enough for it: a client
// may log in at the last moment, and the program may be told to stop. Without this, nothing would ever be
// known of a silent mailhost where LOGIN_TIMEOUT is shorter than the time limits towards mailhosts.
func (d *Dialer) hadItsTime(ctx context.Context, took time.Duration) bool {
	return errors.Is(context.Cause(ctx), context.DeadlineExceeded) &&
		took >= min(d.Config.ConnectTimeout, d.Config.LoginTimeout/2)
}

// isSilence says whether err is what somebody meets where nobody is.
func isSilence(err error) bool {
	timeout, isNet := errors.AsType[net.Error](err)
	return isNet && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, context.DeadlineExceeded) || connection.HungUp(err) ||
		errors.Is(err, syscall.ECONNREFUSED) ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, syscall.EHOSTDOWN) || errors.Is(err, syscall.ENETDOWN)
}
