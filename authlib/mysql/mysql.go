// Package mysql serves accounts from a MySQL or MariaDB database as Courier's authmysqlrc describes it. See
// package sqlaccount for the settings that it shares with PostgreSQL, and config.go for those of the
// connection.
package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"mailproxy/authlib/rcfile"
	"mailproxy/authlib/sqlaccount"
)

// Time limits: of connecting and logging in, and of waiting for the server's next word, which is what limits
// a query. The driver also takes contexts, but watches each with a goroutine, for a quarter of the daemon's
// processor time.
const (
	connectTimeout = 5 * time.Second
	readTimeout    = 8 * time.Second
)

// New returns the module authmysql, configured by file, with at most conns connections. It does not fail: a
// file that cannot be used is logged by logf, one line each, and requests fail until it can.
func New(file string, conns int, logf func(format string, args ...any)) *sqlaccount.Module {
	connect := func(s *rcfile.Settings) (sqlaccount.Backend, error) { return open(s, conns, logf) }
	return sqlaccount.New("authmysql", "MYSQL_", file, sqlaccount.MySQL, ownSettings, connect, logf)
}

// backend is one server as the settings describe it.
type backend struct {
	db *sql.DB
	// slots has an element for each request that has a connection.
	slots chan struct{}
	// statements are the prepared ones, *sql.Stmt by *sqlaccount.Query.
	statements sync.Map
}

func open(s *rcfile.Settings, conns int, warnf func(format string, args ...any)) (*backend, error) {
	cfg, err := config(s, warnf)
	if err != nil {
		return nil, err
	}
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = connectTimeout, readTimeout, readTimeout
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return newBackend(c, conns), nil
}

func newBackend(c driver.Connector, conns int) *backend {
	b := &backend{db: sql.OpenDB(connector{c}), slots: make(chan struct{}, max(conns, 1))}
	b.db.SetMaxOpenConns(cap(b.slots))
	b.db.SetMaxIdleConns(cap(b.slots))
	return b
}

// Close implements sqlaccount.Backend.
func (b *backend) Close() {
	// It waits for the server to take leave, which a dead one does not.
	go b.db.Close()
}

// connector limits how long a connection may take to be made and logged in.
type connector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return c.Connector.Connect(ctx)
}

// statement returns the prepared statement of a query.
func (b *backend) statement(ctx context.Context, q *sqlaccount.Query) (*sql.Stmt, error) {
	if s, ok := b.statements.Load(q); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := b.db.PrepareContext(ctx, q.SQL(func(int) string { return "?" }))
	if err != nil {
		return nil, err
	}
	first, found := b.statements.LoadOrStore(q, s)
	if found {
		go s.Close()
	}
	return first.(*sql.Stmt), nil
}

// do calls try when one of the connections is free, and once more when the server has ended it meanwhile,
// unless rows have been passed on already (begun).
func (b *backend) do(
	ctx context.Context,
	v *sqlaccount.Values,
	try func(context.Context) (begun bool, err error),
) error {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return fmt.Errorf("all %d connections are busy: %w", cap(b.slots), ctx.Err())
	}
	start := time.Now()
	ctx = context.WithoutCancel(ctx)
	begun, err := try(ctx)
	if gone(err) {
		// The others are probably dead, too.
		b.db.SetMaxIdleConns(0)
		b.db.SetMaxIdleConns(cap(b.slots))
		if !begun && time.Since(start) < readTimeout {
			_, err = try(ctx)
		}
	}
	return classify(err, v)
}

// Query implements sqlaccount.Backend.
func (b *backend) Query(
	ctx context.Context,
	q *sqlaccount.Query,
	v *sqlaccount.Values,
	row func([]string) (stop bool),
) error {
	return b.do(ctx, v, func(ctx context.Context) (begun bool, err error) {
		s, err := b.statement(ctx, q)
		if err != nil {
			return false, err
		}
		rows, err := s.QueryContext(ctx, q.Params(v)...)
		if err != nil {
			return false, err
		}
		defer rows.Close()
		return each(rows, row)
	})
}

// each passes the rows on as text, NULL as "", until row says stop. begun tells whether it has been called.
func each(rows *sql.Rows, row func([]string) (stop bool)) (begun bool, err error) {
	names, err := rows.Columns()
	if err != nil {
		return false, err
	}
	if len(names) == 0 {
		return true, errors.New("the query returns no rows at all: not a SELECT")
	}
	raw, dest, columns := make([]sql.RawBytes, len(names)), make([]any, len(names)), make([]string, len(names))
	for i := range raw {
		dest[i] = &raw[i]
	}
	for rows.Next() {
		begun = true
		if err := rows.Scan(dest...); err != nil {
			return begun, err
		}
		for i := range raw {
			columns[i] = string(raw[i])
		}
		if row(columns) {
			return begun, nil
		}
	}
	return begun, rows.Err()
}

// Exec implements sqlaccount.Backend.
func (b *backend) Exec(
	ctx context.Context,
	q *sqlaccount.Query,
	v *sqlaccount.Values,
) (n int64, err error) {
	err = b.do(ctx, v, func(ctx context.Context) (begun bool, err error) {
		s, err := b.statement(ctx, q)
		if err != nil {
			return false, err
		}
		result, err := s.ExecContext(ctx, q.Params(v)...)
		if err != nil {
			return false, err
		}
		n, err = result.RowsAffected()
		return true, err
	})
	return n, err
}
