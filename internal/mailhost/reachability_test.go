package mailhost

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"mailproxy/internal/config"
)

type refusal struct{ error }

func (refusal) Answered() {}

// What a login says of the mailhost: whether anybody is there.
func TestJudge(t *testing.T) {
	at := func(step Step, err error) error { return &StepError{step, err} }
	dial := func(err error) error {
		return at(StepConnect, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)})
	}
	background := context.Background()
	stopped, stop := context.WithCancel(background)
	stop()
	expired, cancel := context.WithTimeout(background, 0)
	defer cancel()
	timeout := &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	silent := at(StepGreeting, timeout)
	handshake := at(StepTLS, io.EOF)
	untrusted := at(StepTLS, &tls.CertificateVerificationError{Err: errors.New("unknown authority")})
	for _, c := range []struct {
		name string
		err  error
		want reachability
		// ctx is background, took 0, the mailhost not PROXY_LOCAL and PROXY_TLS=NO without these.
		ctx   context.Context
		took  time.Duration
		local bool
		tls   config.Mode
		own   config.Mode // mailhosttls=
	}{
		{name: "logged in", want: answered},
		{name: "refused a login", err: refusal{errors.New("login: rejected")}, want: answered},
		{name: "hung up on UTF8", err: at(StepUTF8, &HungUpError{"UTF8", io.EOF}), want: answered},

		{name: "refuses connections", err: dial(syscall.ECONNREFUSED), want: absent},
		{name: "no route", err: dial(syscall.EHOSTUNREACH), want: absent},
		{name: "no network", err: dial(syscall.ENETUNREACH), want: absent},
		{name: "reset", err: dial(syscall.ECONNRESET), want: absent},
		{name: "connection timed out", err: dial(syscall.ETIMEDOUT), want: absent},
		{name: "PROXY_CONNECT_TIMEOUT", err: dial(context.DeadlineExceeded), want: absent},
		{name: "no greeting", err: silent, want: absent},
		{name: "closed before the greeting", err: at(StepGreeting, io.EOF), want: absent},
		{name: "closed in the greeting", err: at(StepGreeting, io.ErrUnexpectedEOF), want: absent},

		{name: "no descriptors", err: dial(syscall.EMFILE), want: unknown},
		{name: "none in the system", err: dial(syscall.ENFILE), want: unknown},
		{name: "no ports left", err: dial(syscall.EADDRNOTAVAIL), want: unknown},
		{name: "our firewall", err: dial(syscall.EPERM), want: unknown},

		{name: "says goodbye", err: at(StepGreeting, errors.New(`mailhost said "* BYE"`)), want: answered},
		{name: "hangs after LOGIN", err: at(StepLogin, timeout), want: answered},
		{name: "closes after LOGIN", err: at(StepLogin, io.EOF), want: answered},
		{name: "certificate", err: untrusted, want: answered, tls: config.ModeTLS},
		{name: "certificate after STARTTLS", err: untrusted, want: answered, tls: config.ModeStartTLS},
		{name: "no handshake", err: handshake, want: absent, tls: config.ModeTLS},
		{name: "no handshake in time", err: at(StepTLS, timeout), want: absent, tls: config.ModeTLS},
		{name: "no handshake after STARTTLS", err: handshake, want: answered, tls: config.ModeStartTLS},

		{name: "no handshake, mailhosttls=YES", err: handshake, want: absent, own: config.ModeTLS},
		{name: "no handshake after STARTTLS, mailhosttls=STARTTLS", err: handshake, want: answered,
			tls: config.ModeTLS, own: config.ModeStartTLS},

		{name: "SIGTERM while connecting", err: dial(context.Canceled), want: unknown, ctx: stopped},
		{name: "SIGTERM before the greeting", err: silent, want: unknown, ctx: stopped, took: time.Hour},
		{name: "SIGTERM after LOGIN", err: at(StepLogin, timeout), want: answered, ctx: stopped},
		{name: "SIGTERM after the answer", err: context.Canceled, want: unknown, ctx: stopped},
		{name: "a login at the last moment", err: silent, want: unknown, ctx: expired, took: time.Second},
		{name: "the login time went by", err: silent, want: absent, ctx: expired, took: 10 * time.Second},

		{name: "PROXY_LOCAL is not there", err: dial(syscall.ECONNREFUSED), want: unknown, local: true},
		{name: "PROXY_LOCAL refuses a login", err: refusal{errors.New("no")}, want: answered, local: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &Dialer{Config: &config.Config{
				ConnectTimeout: 30 * time.Second, LoginTimeout: 20 * time.Second,
				Mailhost: config.MailhostTLS{Mode: c.tls},
			}}
			ctx := c.ctx
			if ctx == nil {
				ctx = background
			}
			for _, err := range []error{c.err, wrapped(c.err)} {
				if got := d.classify(ctx, &Conn{Local: c.local, Mode: c.own}, err, c.took); got != c.want {
					t.Errorf("%v: %v, want %v", err, got, c.want)
				}
			}
		})
	}
}

func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("wrapped: %w", err)
}

// Each login at a mailhost gives its slot back, after a panic too, and says what it has found.
func TestLogInCounts(t *testing.T) {
	h, seen := newHealth(1)
	dialed := errors.New("unused")
	d := &Dialer{
		Config: &config.Config{ConnectTimeout: time.Minute, LoginTimeout: time.Minute},
		Health: h,
		Dial:   func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, dialed },
	}
	logIn := func() error { return d.LogIn(t.Context(), &Conn{Host: "mail1"}, here, nil) }
	dialed = syscall.EMFILE
	for range 2 * failuresUntilDown {
		if err := logIn(); !errors.Is(err, syscall.EMFILE) {
			t.Fatal(err)
		}
	}
	dial := d.Dial
	d.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) { panic("in a login") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_ = logIn()
	}()
	if states := h.States(); len(states) != 0 {
		t.Fatalf("our own faults count: %v", states)
	}
	d.Dial, dialed = dial, syscall.ECONNREFUSED
	for range failuresUntilDown {
		if err := logIn(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
	err := logIn()
	at, ok := errors.AsType[*StepError](err)
	if !ok || at.Step != StepConnect || !errors.Is(err, ErrDown) || len(seen()) != 1 {
		t.Errorf("%v, events %v", err, seen())
	}
}
