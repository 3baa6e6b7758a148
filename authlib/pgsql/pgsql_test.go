package pgsql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"mailproxy/authlib/rcfile"
	"mailproxy/authlib/sqlaccount"
)

// ask returns the one column of the one row.
func ask(b *backend, text string) (string, error) {
	q, err := sqlaccount.PostgreSQL.Parse(text)
	if err != nil {
		return "", err
	}
	return askQuery(b, q)
}

func askQuery(b *backend, q *sqlaccount.Query) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	got := ""
	err := b.Query(ctx, q, &sqlaccount.Values{LocalPart: "ann", Domain: "x\x00"},
		func(c []string) bool {
			got = c[0]
			return true
		})
	return got, err
}

func parse(t *testing.T, text string) *sqlaccount.Query {
	t.Helper()
	q, err := sqlaccount.PostgreSQL.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestPooler: behind a pooler in transaction mode a prepared statement may be gone: the same question is put
// without one.
func TestPooler(t *testing.T) {
	s := newServer(t)
	s.pooler = true
	b := s.backend(2)
	query := parse(t, "select '$(local_part)'")
	for range 5 {
		if got, err := askQuery(b, query); got != "select $1" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if !b.unnamed.Load() {
		t.Error("the pooler was not noticed: the test shows nothing")
	}
}

// TestUntyped: where the server cannot find out the type of a parameter, it is text.
func TestUntyped(t *testing.T) {
	s := newServer(t)
	s.untyped = true
	b := s.backend(2)
	query := parse(t, "select concat('$(local_part)')")
	for range 2 {
		if got, err := askQuery(b, query); got != "select concat($1::text)" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestRestart: the first question after a restart is answered, with every connection of the pool dead.
func TestRestart(t *testing.T) {
	s := newServer(t)
	b := s.backend(3)
	query := parse(t, "select '$(local_part)'")
	for range 3 {
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if _, err := askQuery(b, query); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s.restart()
		if _, err := askQuery(b, query); err != nil {
			t.Errorf("first question after a restart: %v", err)
		}
	}
}

// TestAgain: which of the server's errors make a question be put again, once.
func TestAgain(t *testing.T) {
	s := newServer(t)
	b := s.backend(1)
	for code, again := range map[string]bool{"57P01": true, "0A000": true, "08006": true, "42P01": false,
		"22P02": false, "42501": false} {
		s.set(func() { s.fail = code })
		_, err := ask(b, "select '$(local_part)'")
		if (err == nil) != again {
			t.Errorf("%s: %v", code, err)
		}
		if errors.Is(err, sqlaccount.ErrValue) { // the server does not say so
			t.Errorf("%s: %v", code, err)
		}
	}
	if _, err := ask(b, "select '$(domain)'"); !errors.Is(err, sqlaccount.ErrValue) {
		t.Errorf("a value with NUL: %v", err)
	}
}

// TestOfValue: which errors are a client's, whose login then fails, and which are the administrator's. The
// server's words are PostgreSQL 15's.
func TestOfValue(t *testing.T) {
	for _, test := range []struct {
		name, code, message string
		isValue             bool
	}{
		{"joe", "22P02", `invalid input syntax for type integer: "joe"`, true},
		{"99999999999999", "22003", `value "99999999999999" is out of range for type integer`, true},
		{"", "22P02", `invalid input syntax for type integer: ""`, true},
		{"j\xff", "22021", `invalid byte sequence for encoding "UTF8": 0xff`, true},
		{"\u20ac", "22P05", `character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no equivalent`,
			true},
		{"((", "2201B", "invalid regular expression: parentheses () not balanced", true},
		// Of a row, or of the query.
		{"joe", "22P02", `invalid input syntax for type integer: "x"`, false},
		{"joe@example.com", "22012", "division by zero", false},
		{"joe", "22P05", `character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no equivalent`, false},
		{"joe", "42703", `column "joe" does not exist`, false},
	} {
		err := ofValue(&pgconn.PgError{Code: test.code, Message: test.message}, []any{test.name})
		if errors.Is(err, sqlaccount.ErrValue) != test.isValue {
			t.Errorf("%q: %v", test.name, err)
		}
	}
}

// TestNoServer: an error on one line that names the hosts and no password.
func TestNoServer(t *testing.T) {
	settings, err := rcfile.Parse("##NAME: MARKER:0\nPGSQL_CONNECTION host=127.0.0.1,127.0.0.2 port=1,1 " +
		"user=u password=geheim dbname=d sslmode=disable\n")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config(settings, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.pool.Close()
	_, err = ask(b, "select 1")
	if err == nil || strings.ContainsAny(err.Error(), "\n\t") || strings.Contains(err.Error(), "geheim") ||
		!strings.Contains(err.Error(), "127.0.0.1") || !strings.Contains(err.Error(), "127.0.0.2") {
		t.Errorf("got %v", err)
	}
}

func TestIsGone(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{io.ErrUnexpectedEOF, true}, {net.ErrClosed,
			true}, {&net.OpError{Op: "read", Err: errors.New("connection reset")}, true},
		{fmt.Errorf("read: %w", os.ErrDeadlineExceeded), false}, {context.DeadlineExceeded,
			false}, {&pgconn.ConnectError{}, false},
		{errors.New("other"), false}, {nil, false},
	} {
		if got := isGone(test.err); got != test.want {
			t.Errorf("isGone(%T %v) = %v", test.err, test.err, got)
		}
	}
}

func TestConfig(t *testing.T) {
	parse := func(connection string) (*rcfile.Settings, error) {
		return rcfile.Parse("##NAME: MARKER:0\nPGSQL_CONNECTION " + connection + "\nPGSQL_CHARACTER_SET LATIN1\n")
	}
	s, err := parse("host=db hostaddr=192.0.2.7 user=u dbname=d sslcrl=/x keepalives=1 connect_timeout=60 " +
		"sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	var warned []string
	cfg, err := config(s, func(format string,
		args ...any) {
		warned = append(warned, fmt.Sprintf(format, args...))
	})
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.ConnConfig
	if c.ConnectTimeout != connectTimeout || c.RuntimeParams["client_encoding"] != "LATIN1" ||
		len(c.RuntimeParams) != 1 {
		t.Errorf("%v, %v", c.ConnectTimeout, c.RuntimeParams)
	}
	if addrs, err := c.LookupFunc(t.Context(), "db"); err != nil || len(addrs) != 1 || addrs[0] != "192.0.2.7" {
		t.Errorf("db is %v, %v", addrs, err)
	}
	if want := "PGSQL_CONNECTION: sslcrl: not supported, ignored"; len(warned) != 1 || warned[0] != want {
		t.Errorf("warned %q", warned)
	}
	for _, connection := range []string{"", "nonsense", "host=h port=x"} {
		s, err := parse(connection)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config(s, t.Logf); err == nil || !strings.Contains(err.Error(), "PGSQL_CONNECTION") {
			t.Errorf("%q: %v", connection, err)
		}
	}
}
