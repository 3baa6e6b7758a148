package pgsql

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"mailproxy/authlib/sqlaccount"
)

// The codes below are those of PostgreSQL's documentation, appendix A.

// code returns the server's code of an error, "" for others.
func code(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// isUntyped tells the errors of a statement whose parameters' types the server cannot find out:
// indeterminate_datatype, ambiguous_parameter, ambiguous_function.
func isUntyped(err error) bool {
	switch code(err) {
	case "42P18", "42P08", "42725":
		return true
	}
	return false
}

// isPooler tells the errors that come of prepared statements behind a pooler in transaction mode: one that is
// not there, one that is there already.
func isPooler(err error) bool {
	switch code(err) {
	case "26000", "42P05":
		return true
	}
	return false
}

// isGone tells the errors after which the same question may well be answered on a new connection: not those
// of making one, and not that time is over.
func isGone(err error) bool {
	if c := code(err); c != "" {
		return strings.HasPrefix(c, "08") || // connection exception
			strings.HasPrefix(c, "57P") || // operator intervention: shutdown
			c == "0A000" // a table was changed under a prepared statement
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) {
		return false
	}
	if errors.As(err, &network) {
		return !network.Timeout()
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err)
}

// plain are the characters of names that mean nothing in any number, date or pattern.
const plain = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz@._-"

// ofValue makes a [sqlaccount.ErrValue] of the errors that one of the parameters has caused: it is not a
// number, not in this character set or not a pattern. Broken rows and queries cause the same errors, which
// must not count as a wrong password: in that case the server's message does not contain the value, and the
// value is an ordinary name.
func ofValue(err error, params []any) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) || !strings.HasPrefix(server.Code, "22") { // data exception
		return err
	}
	for _, p := range params {
		if text := p.(string); strings.Trim(text, plain) != "" || strings.Contains(server.Message, text) {
			return fmt.Errorf("%w: %w", sqlaccount.ErrValue, err)
		}
	}
	return err
}

// shown is an error as the log is to have it.
func shown(err error) error {
	if err == nil || errors.Is(err, sqlaccount.ErrValue) {
		return err
	}
	return oneLine{err}
}

// oneLine is an error on one line: pgx uses several for several hosts.
type oneLine struct{ error }

func (e oneLine) Error() string {
	return strings.Join(
		strings.FieldsFunc(e.error.Error(), func(r rune) bool { return r == '\n' || r == '\t' }),
		"; ",
	)
}

func (e oneLine) Unwrap() error { return e.error }
