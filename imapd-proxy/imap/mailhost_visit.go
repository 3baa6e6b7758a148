package imap

import (
	"context"
	"errors"
	"strings"

	"mailproxy/internal/mailhost"
)

// visit is the dialogue of loginAtMailhost step by step, see mailhost.Visit.
type visit struct{ u *upstream }

func newVisit(m *mailhost.Conn) mailhost.Visit { return &visit{newUpstream(m)} }

// Greeting is part of mailhost.Visit.
func (v *visit) Greeting(ctx context.Context) (string, error) {
	err := v.u.Run(ctx, v.u.greeting)
	return v.u.greeted, err
}

// StartTLS is part of mailhost.Visit.
func (v *visit) StartTLS(ctx context.Context) error { return v.u.Run(ctx, v.u.startTLS) }

// Capabilities is part of mailhost.Visit.
func (v *visit) Capabilities(ctx context.Context) ([]string, error) {
	ask, list := v.u.askCapability, &v.u.capabilities
	if v.u.final != "" {
		ask, list = v.askAgain, &v.u.learned
	}
	if err := v.u.Run(ctx, ask); err != nil {
		return nil, err
	}
	if *list == "" {
		return nil, errors.New("mailhost tells no list")
	}
	return strings.Fields(strings.ToUpper(*list)), nil
}

// askAgain asks after the login, unless the mailhost has told with it.
func (v *visit) askAgain(context.Context) error {
	v.u.Step = mailhost.StepFollow
	if v.u.learned != "" {
		return nil
	}
	return v.u.askAgain()
}

// Login is part of mailhost.Visit.
func (v *visit) Login(ctx context.Context) error {
	return v.u.Run(ctx, v.u.askCapability, v.u.forwardClient, v.u.login)
}

// Quit is part of mailhost.Visit.
func (v *visit) Quit(context.Context) {
	_, _ = v.u.command("Q1", "LOGOUT")
	v.u.in.in.Clear()
}
