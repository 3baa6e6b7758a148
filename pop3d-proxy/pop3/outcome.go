package pop3

import (
	"context"
	"errors"

	"mailproxy/internal/frontend"
	"mailproxy/internal/login"
)

// tryLogin takes credentials to the front end and tells the client why they do not let it in. failed is what
// a client with a wrong name or password reads.
func (d *dialogue) tryLogin(ctx context.Context, failed string, c *login.Credentials) error {
	d.errors = 0
	c.UTF8 = d.utf8
	utf8 := "0"
	if d.utf8 {
		utf8 = "1"
	}
	err := d.s.Login(ctx, c, map[string]string{"UTF8": utf8})
	denied, _ := errors.AsType[*login.DeniedError](err)
	switch {
	case denied != nil:
		return d.s.Reply(denial(denied.Code, failed))
	case errors.Is(err, frontend.ErrEndSession):
		return d.s.Bye(frontend.Failed, textTemporary)
	}
	return err
}
