package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"mailproxy/authlib/rcfile"
	"mailproxy/authlib/sqlaccount"

	"mailproxy/tests/testlog"
)

// server is a database without a network: every query answers with one row, its own text.
type server struct {
	mu       sync.Mutex
	err      error // of the next query
	open     atomic.Int64
	most     atomic.Int64
	hold     chan struct{} // not nil: queries wait for it
	prepared atomic.Int64
}

func (s *server) Driver() driver.Driver { return nil }

func (s *server) Connect(context.Context) (driver.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most.Store(max(s.most.Load(), s.open.Add(1)))
	return &session{s}, nil
}

type session struct {
	s *server
}

func (c *session) Prepare(query string) (driver.Stmt, error) {
	c.s.prepared.Add(1)
	return &stmt{c, query}, nil
}
func (c *session) Close() error              { c.s.open.Add(-1); return nil }
func (c *session) Begin() (driver.Tx, error) { return nil, driver.ErrSkip }

type stmt struct {
	c     *session
	query string
}

func (s *stmt) Close() error                               { return nil }
func (s *stmt) NumInput() int                              { return strings.Count(s.query, "?") }
func (s *stmt) Exec([]driver.Value) (driver.Result, error) { return driver.RowsAffected(1), nil }

func (s *stmt) Query([]driver.Value) (driver.Rows, error) {
	if hold := s.c.s.hold; hold != nil {
		<-hold
	}
	s.c.s.mu.Lock()
	defer s.c.s.mu.Unlock()
	if err := s.c.s.err; err != nil {
		s.c.s.err = nil
		return nil, err
	}
	return &rows{value: s.query}, nil
}

type rows struct {
	value string
	done  bool
}

func (r *rows) Columns() []string { return []string{"a"} }
func (r *rows) Close() error      { return nil }
func (r *rows) Next(dest []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done = true
	dest[0] = []byte(r.value)
	return nil
}

// ask returns the one column of the one row.
func ask(ctx context.Context, b *backend, q *sqlaccount.Query) (string, error) {
	got := ""
	err := b.Query(ctx, q, &sqlaccount.Values{LocalPart: "ann"}, func(c []string) bool {
		got = c[0]
		return true
	})
	return got, err
}

// TestPrepared: a query is prepared once.
func TestPrepared(t *testing.T) {
	s := &server{}
	b := newBackend(s, 3)
	defer b.db.Close()
	text := query(t)
	for range 3 {
		if got, err := ask(t.Context(), b, text); got != "SELECT ?" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if n := s.prepared.Load(); n != 1 {
		t.Errorf("prepared %d times", n)
	}
}

// query returns one that has a parameter.
func query(t *testing.T) *sqlaccount.Query {
	t.Helper()
	q, err := sqlaccount.MySQL.Parse("SELECT '$(local_part)'")
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestAgain: which errors make a query be repeated, once.
func TestAgain(t *testing.T) {
	for _, test := range []struct {
		err   error
		again bool
	}{
		{mysql.ErrInvalidConn, true}, {io.ErrUnexpectedEOF, true}, {&mysql.MySQLError{Number: errConnectionKilled},
			true},
		{&mysql.MySQLError{Number: errNoStatement}, true}, {&mysql.MySQLError{Number: errIdleTooLong}, true},
		{&mysql.MySQLError{Number: 1146, Message: "no such table"},
			false}, {&mysql.MySQLError{Number: errBadCharacter}, false},
		{context.DeadlineExceeded, false}, {errors.New("other"), false},
	} {
		s := &server{}
		b := newBackend(s, 1)
		query := query(t)
		if _, err := ask(t.Context(), b, query); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.err = test.err
		s.mu.Unlock()
		if _, err := ask(t.Context(), b, query); (err == nil) != test.again || err != nil &&
			!errors.Is(err, test.err) {
			t.Errorf("%v: %v", test.err, err)
		}
		b.db.Close()
	}
}

// TestBounded: there are no more connections than there may be, and nobody waits for one longer than its
// context.
func TestBounded(t *testing.T) {
	s := &server{hold: make(chan struct{})}
	b := newBackend(s, 2)
	defer b.db.Close()
	query := query(t)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := ask(context.Background(), b, query); err != nil {
				t.Error(err)
			}
		})
	}
	if !testlog.Eventually(func() bool { return s.open.Load() == 2 }) {
		t.Fatalf("%d connections", s.open.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := ask(ctx, b, query); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "all 2 connections are busy") {
		t.Errorf("with all connections busy: %v", err)
	}
	close(s.hold)
	wg.Wait()
	if n := s.most.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		number uint16
		user   string
		value  bool
	}{
		{errTruncatedValue, "ann", true}, {errWrongString, "ann", true}, {errCannotConvert, "ann", true},
		{errMixOfCollations, "jürgen", true}, {errMixOfCollations, "ann", false}, {1146, "ann", false},
	} {
		err := classify(fmt.Errorf("query: %w", &mysql.MySQLError{Number: test.number}),
			&sqlaccount.Values{User: test.user})
		if errors.Is(err, sqlaccount.ErrValue) != test.value {
			t.Errorf("%d for %s: %v", test.number, test.user, err)
		}
	}
	if err := classify(nil, nil); err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	const base = "##NAME: MARKER:0\nMYSQL_USERNAME u\nMYSQL_PASSWORD p\nMYSQL_DATABASE d\n"
	for _, test := range []struct{ settings, net, addr, err string }{
		{"MYSQL_SERVER db.example.com", "tcp", "db.example.com:3306", ""},
		{"MYSQL_SERVER 192.0.2.1\nMYSQL_PORT 0", "tcp", "192.0.2.1:3306", ""},
		{"MYSQL_SERVER [::1]\nMYSQL_PORT 33", "tcp", "[::1]:33", ""},
		{"MYSQL_SERVER localhost", "unix", defaultSocket, ""},
		{"MYSQL_SERVER localhost\nMYSQL_SOCKET /s", "unix", "/s", ""},
		{"MYSQL_SOCKET /s", "unix", "/s", ""},
		{"", "", "", "MYSQL_SERVER or MYSQL_SOCKET must be set"},
		{"MYSQL_SERVER h\nMYSQL_SSL_CACERT /nonexistent", "", "", "MYSQL_SSL_CACERT: open /nonexistent"},
	} {
		s, err := rcfile.Parse(base + test.settings + "\n")
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config(s, t.Logf)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: %v", test.settings, err)
			}
			continue
		}
		if err != nil || cfg.Net != test.net || cfg.Addr != test.addr || !cfg.ClientFoundRows ||
			!strings.Contains(cfg.FormatDSN(), "charset=utf8mb4") {
			t.Errorf("%q: %v, %v", test.settings, cfg, err)
		}
	}
}
