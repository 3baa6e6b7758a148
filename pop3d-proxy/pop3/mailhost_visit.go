package pop3

import (
	"context"
	"errors"

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
	v.u.Step, v.u.capabilities = mailhost.StepFollow, nil
	if err := v.u.Run(ctx, func(context.Context) error { return v.u.askCapability() }); err != nil {
		return nil, err
	}
	if v.u.capabilities == nil {
		return nil, errors.New("mailhost tells no list")
	}
	return v.u.capabilities, nil
}

// Login is part of mailhost.Visit.
func (v *visit) Login(ctx context.Context) error {
	return v.u.Run(ctx, v.u.sendable, v.u.forwardClient, v.u.utf8, v.u.login, v.done)
}

// done is what a login looks at before it believes the answer.
func (v *visit) done(context.Context) error {
	v.u.Step = mailhost.StepLogin
	return v.u.inStep()
}

// Quit is part of mailhost.Visit.
func (v *visit) Quit(context.Context) {
	_, _ = v.u.command("QUIT")
	v.u.in.Clear()
}
