// Package pgsql serves accounts from a PostgreSQL database as Courier's authpgsqlrc describes it. See package
// sqlaccount for the settings that it shares with MySQL, and config.go for those of the connection.
package pgsql

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"mailproxy/authlib/rcfile"
	"mailproxy/authlib/sqlaccount"
)

// connectTimeout is how long connecting to a host may take, unless connect_timeout says less.
const connectTimeout = 5 * time.Second

// New returns the module authpgsql, configured by file, with at most conns connections. It does not fail: a
// file that cannot be used is logged by logf, one line each, and requests fail until it can.
func New(file string, conns int, logf func(format string, args ...any)) *sqlaccount.Module {
	connect := func(s *rcfile.Settings) (sqlaccount.Backend, error) {
		cfg, err := config(s, logf)
		if err != nil {
			return nil, err
		}
		return open(cfg, conns)
	}
	return sqlaccount.New("authpgsql", "PGSQL_", file, ownSettings, connect, logf)
}

// backend is one database as the settings describe it.
type backend struct {
	pool *pgxpool.Pool
	// unnamed says that prepared statements do not live as long as the connection: there is a pooler in between.
	unnamed atomic.Bool
	// statements are the compiled templates, *sqlaccount.Query by statementKey; untyped those whose parameters'
	// types the server cannot find out.
	statements, untyped sync.Map
}

func open(cfg *pgxpool.Config, conns int) (*backend, error) {
	cfg.MaxConns = int32(max(conns, 1))
	cfg.MinConns, cfg.MinIdleConns = 0, 0
	// A dead connection is noticed by its use, which is then repeated.
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	return &backend{pool: pool}, nil
}

// Close implements sqlaccount.Backend.
func (b *backend) Close() {
	// It waits for the server to take leave, which a dead one does not.
	go b.pool.Close()
}

// statementKey names a compiled template: it depends on two parameters of the connection.
type statementKey struct {
	template           *sqlaccount.Template
	conforming, client string
	text               bool
}

// statement returns the template as the connection's server reads it.
func (b *backend) statement(c *pgxpool.Conn, t *sqlaccount.Template) (*sqlaccount.Query, error) {
	pg := c.Conn().PgConn()
	_, text := b.untyped.Load(t)
	key := statementKey{
		t,
		pg.ParameterStatus("standard_conforming_strings"),
		pg.ParameterStatus("client_encoding"),
		text,
	}
	if q, ok := b.statements.Load(key); ok {
		return q.(*sqlaccount.Query), nil
	}
	q, err := t.Compile(
		sqlaccount.Dialect{
			Backslash: key.conforming == "off",
			Multibyte: sqlaccount.Multibyte(key.client),
			Text:      text,
		},
	)
	if err != nil {
		return nil, err
	}
	b.statements.Store(key, q)
	return q, nil
}

// run sends a template's statement and has read take the answer.
func (b *backend) run(
	ctx context.Context,
	t *sqlaccount.Template,
	v *sqlaccount.Values,
	read func(pgx.Rows) error,
) error {
	c, err := b.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	s, err := b.statement(c, t)
	if err != nil {
		return err
	}
	text, params, err := s.SQL(v)
	if err != nil {
		return err
	}
	hasNUL := func(p any) bool { return strings.IndexByte(p.(string), 0) >= 0 }
	if slices.ContainsFunc(params, hasNUL) {
		return sqlaccount.ErrValue
	}
	// pgx sends strings as the text that they are, whatever the parameter's type, and the server reads it as it
	// does the literals that they replace.
	_, fixed := s.Fixed()
	args := append([]any{b.mode(fixed), pgx.QueryResultFormats{pgx.TextFormatCode}}, params...)
	rows, err := c.Query(ctx, text, args...)
	if err == nil {
		err = read(rows)
		rows.Close()
	}
	return ofValue(err, params)
}

// mode tells how to send a statement.
func (b *backend) mode(fixed bool) pgx.QueryExecMode {
	if !fixed || b.unnamed.Load() {
		return pgx.QueryExecModeCacheDescribe
	}
	return pgx.QueryExecModeCacheStatement
}

// do runs a statement, and once more where the answer says that this may help: begun tells whether rows have
// been passed on.
func (b *backend) do(
	ctx context.Context,
	t *sqlaccount.Template,
	v *sqlaccount.Values,
	read func(pgx.Rows) (begun bool, err error),
) error {
	begun := false
	once := func() error {
		return b.run(ctx, t, v, func(rows pgx.Rows) (err error) {
			begun, err = read(rows)
			return err
		})
	}
	err := once()
	switch {
	case err == nil, begun, ctx.Err() != nil:
	case isUntyped(err):
		b.untyped.Store(t, true)
		err = once()
	case isPooler(err):
		b.unnamed.Store(true)
		b.pool.Reset()
		err = once()
	case isGone(err):
		b.pool.Reset() // the others are probably dead, too
		err = once()
	}
	return shown(err)
}

// Query implements sqlaccount.Backend.
func (b *backend) Query(
	ctx context.Context,
	t *sqlaccount.Template,
	v *sqlaccount.Values,
	row func([]string) (stop bool),
) error {
	return b.do(ctx, t, v, func(rows pgx.Rows) (begun bool, err error) {
		var columns []string
		for rows.Next() {
			begun = true
			columns = columns[:0]
			for _, value := range rows.RawValues() {
				columns = append(columns, string(value))
			}
			if row(columns) {
				return begun, nil
			}
		}
		return begun, rows.Err()
	})
}

// Exec implements sqlaccount.Backend.
func (b *backend) Exec(
	ctx context.Context,
	t *sqlaccount.Template,
	v *sqlaccount.Values,
) (n int64, err error) {
	err = b.do(ctx, t, v, func(rows pgx.Rows) (begun bool, err error) {
		rows.Close()
		n = rows.CommandTag().RowsAffected()
		return false, rows.Err()
	})
	return n, err
}
