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
	slots chan struct{}
	modes modes
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
	b := &backend{slots: make(chan struct{}, max(conns, 1)), modes: modes{charset: charset}}
	b.db = sql.OpenDB(&connector{c, &b.modes})
	b.db.SetMaxOpenConns(cap(b.slots))
	b.db.SetMaxIdleConns(cap(b.slots))
	return b, nil
}

// Close implements sqlaccount.Backend.
func (b *backend) Close() {
	// It waits for the server to take leave, which a dead one does not.
	go b.db.Close()
}

// connector makes connections, and finds out with each how its server reads SQL.
type connector struct {
	driver.Connector
	modes *modes
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
	c.modes.set(mode)
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

// modes is how the server reads SQL, and the statements that are made for that. It changes when the server
// comes back from a restart with another sql_mode.
type modes struct {
	charset string

	mu         sync.Mutex
	mode       string
	known      bool
	statements map[*sqlaccount.Template]*statement
}

// statement is a compiled template.
type statement struct {
	*sqlaccount.Query
	prepared *sql.Stmt // nil when the text depends on the values
}

func (m *modes) set(mode string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.known || m.mode != mode {
		m.mode, m.known = mode, true
		m.statements = nil
	}
}

// get returns a statement made before; found is false when the server has not been asked yet or the template
// was not used yet.
func (m *modes) get(t *sqlaccount.Template) (s *statement, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.statements[t], m.known
}

// dialect is how the server reads SQL.
func (m *modes) dialect() (d sqlaccount.Dialect, mode string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d = sqlaccount.Dialect{MySQL: true, Backslash: true, Multibyte: sqlaccount.Multibyte(m.charset)}
	for word := range strings.SplitSeq(m.mode, ",") {
		switch word {
		case "NO_BACKSLASH_ESCAPES":
			d.Backslash = false
		case "ANSI_QUOTES":
			d.ANSIQuotes = true
		}
	}
	return d, m.mode
}

// put keeps a statement for later, unless the mode for which it was made has changed. It returns the one to
// use.
func (m *modes) put(t *sqlaccount.Template, mode string, s *statement) *statement {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mode != mode {
		return s
	}
	if old := m.statements[t]; old != nil {
		if s.prepared != nil {
			go s.prepared.Close()
		}
		return old
	}
	if m.statements == nil {
		m.statements = make(map[*sqlaccount.Template]*statement)
	}
	m.statements[t] = s
	return s
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
	s, known := b.modes.get(t)
	if s != nil {
		return s, nil
	}
	if !known {
		if err := b.db.PingContext(ctx); err != nil {
			return nil, err
		}
	}
	d, mode := b.modes.dialect()
	q, err := t.Compile(d)
	if err != nil {
		return nil, err
	}
	s = &statement{Query: q}
	if text, fixed := q.Fixed(); fixed {
		if s.prepared, err = b.db.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
	}
	return b.modes.put(t, mode, s), nil
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
