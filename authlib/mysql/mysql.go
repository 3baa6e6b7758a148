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
	"strings"
	"sync"
	"sync/atomic"
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
	return sqlaccount.New("authmysql", "MYSQL_", file, ownSettings, connect, logf)
}

// backend is one server as the settings describe it.
type backend struct {
	db *sql.DB
	// slots has an element for each request that has a connection.
	slots   chan struct{}
	charset string
	// mode is the sql_mode of the latest connection, nil before the first.
	mode atomic.Pointer[string]
	// statements are the compiled templates, *statement by statementKey.
	statements sync.Map
}

func open(s *rcfile.Settings, conns int, warnf func(format string, args ...any)) (*backend, error) {
	cfg, charset, err := config(s, warnf)
	if err != nil {
		return nil, err
	}
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = connectTimeout, readTimeout, readTimeout
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return newBackend(c, conns, charset), nil
}

func newBackend(c driver.Connector, conns int, charset string) *backend {
	b := &backend{slots: make(chan struct{}, max(conns, 1)), charset: charset}
	b.db = sql.OpenDB(&connector{c, &b.mode})
	b.db.SetMaxOpenConns(cap(b.slots))
	b.db.SetMaxIdleConns(cap(b.slots))
	return b
}

// Close implements sqlaccount.Backend.
func (b *backend) Close() {
	// It waits for the server to take leave, which a dead one does not.
	go b.db.Close()
}

// connector makes connections, and finds out with each how its server reads SQL.
type connector struct {
	driver.Connector
	mode *atomic.Pointer[string]
}

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	mode, err := sqlMode(ctx, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c.mode.Store(&mode)
	return conn, nil
}

// sqlMode asks for the session's sql_mode.
func sqlMode(ctx context.Context, conn driver.Conn) (string, error) {
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return "", driver.ErrSkip
	}
	rows, err := q.QueryContext(ctx, "SELECT @@sql_mode", nil)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	value := make([]driver.Value, 1)
	if err := rows.Next(value); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s", value[0]), nil
}

// statementKey names a compiled template: the server reads it by its sql_mode, which may be another after a
// restart.
type statementKey struct {
	template *sqlaccount.Template
	mode     string
}

// statement is a compiled template.
type statement struct {
	*sqlaccount.Query
	prepared *sql.Stmt // nil when the text depends on the values
}

// dialect is how a server with a sql_mode reads SQL.
func (b *backend) dialect(mode string) sqlaccount.Dialect {
	d := sqlaccount.Dialect{MySQL: true, Backslash: true, Multibyte: sqlaccount.Multibyte(b.charset)}
	for word := range strings.SplitSeq(mode, ",") {
		switch word {
		case "NO_BACKSLASH_ESCAPES":
			d.Backslash = false
		case "ANSI_QUOTES":
			d.ANSIQuotes = true
		}
	}
	return d
}

// statement returns the statement of a template, prepared unless its text depends on the values.
func (b *backend) statement(
	ctx context.Context, t *sqlaccount.Template, v *sqlaccount.Values,
) (prepared *sql.Stmt, text string, args []any, err error) {
	s, err := b.compiled(ctx, t)
	if err != nil {
		return nil, "", nil, err
	}
	text, args, err = s.SQL(v)
	return s.prepared, text, args, err
}

// compiled is the statement for any values.
func (b *backend) compiled(ctx context.Context, t *sqlaccount.Template) (*statement, error) {
	if b.mode.Load() == nil {
		if err := b.db.PingContext(ctx); err != nil {
			return nil, err
		}
	}
	key := statementKey{t, *b.mode.Load()}
	if s, ok := b.statements.Load(key); ok {
		return s.(*statement), nil
	}
	q, err := t.Compile(b.dialect(key.mode))
	if err != nil {
		return nil, err
	}
	s := &statement{Query: q}
	if text, fixed := q.Fixed(); fixed {
		if s.prepared, err = b.db.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
	}
	old, loaded := b.statements.LoadOrStore(key, s)
	if loaded && s.prepared != nil { // another request was faster
		go s.prepared.Close()
	}
	return old.(*statement), nil
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
	t *sqlaccount.Template,
	v *sqlaccount.Values,
	row func([]string) (stop bool),
) error {
	return b.do(ctx, v, func(ctx context.Context) (begun bool, err error) {
		rows, err := b.query(ctx, t, v)
		if err != nil {
			return false, err
		}
		defer rows.Close()
		return each(rows, row)
	})
}

func (b *backend) query(
	ctx context.Context,
	t *sqlaccount.Template,
	v *sqlaccount.Values,
) (*sql.Rows, error) {
	prepared, text, args, err := b.statement(ctx, t, v)
	switch {
	case err != nil:
		return nil, err
	case prepared != nil:
		return prepared.QueryContext(ctx, args...)
	}
	return b.db.QueryContext(ctx, text, args...)
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
	t *sqlaccount.Template,
	v *sqlaccount.Values,
) (n int64, err error) {
	err = b.do(ctx, v, func(ctx context.Context) (begun bool, err error) {
		prepared, text, args, err := b.statement(ctx, t, v)
		if err != nil {
			return false, err
		}
		var result sql.Result
		if prepared != nil {
			result, err = prepared.ExecContext(ctx, args...)
		} else {
			result, err = b.db.ExecContext(ctx, text, args...)
		}
		if err != nil {
			return false, err
		}
		n, err = result.RowsAffected()
		return true, err
	})
	return n, err
}
