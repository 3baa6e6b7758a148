package main

import (
	"context"
	"io"

	"mailproxy/authlib"
)

// list answers ENUMERATE on a connection. An error ends the list without its final dot.
func (a *asker) list(ctx context.Context, conn io.Writer) error {
	w := &lister{w: conn}
	err := a.enumerate(ctx, w.begin, w.account)
	if err == nil {
		w.buf = append(w.buf, authlib.AnswerEnd...)
		err = w.flush()
	}
	if err != nil {
		a.debugf("ENUMERATE: %v", err)
	}
	return err
}

// lister writes a list in large pieces.
type lister struct {
	w   io.Writer
	buf []byte
}

func (l *lister) begin(module string) error {
	l.buf = append(append(append(l.buf, "# "...), module...), "\n\n"...)
	return nil
}

func (l *lister) account(a *authlib.Account) error {
	line, err := authlib.AppendListing(l.buf, a)
	if err != nil {
		// An account that the protocol cannot carry is left out, as it can log in nowhere.
		return nil
	}
	l.buf = line
	if len(l.buf) < 16<<10 {
		return nil
	}
	return l.flush()
}

func (l *lister) flush() error {
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}
