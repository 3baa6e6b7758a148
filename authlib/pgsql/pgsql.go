// Package pgsql serves accounts from a PostgreSQL database as Courier's authpgsqlrc describes it. See package
// sqlaccount for the settings that it shares with MySQL, and config.go for those of the connection.
package pgsql

import (
	"context"
	"slices"
	"strconv"
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
	return sqlaccount.New("authpgsql", "PGSQL_", file, sqlaccount.PostgreSQL, ownSettings, connect, logf)
}

// backend is one database as the settings describe it.
type backend struct {
	pool *pgxpool.Pool
	// unnamed says that prepared statements do not live as long as the connection: there is a pooler in between.
	unnamed atomic.Bool
	// texts are the statements, string by *sqlaccount.Query.
	texts sync.Map
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

// text returns a query's statement.
func (b *backend) text(q *sqlaccount.Query) string {
	text, ok := b.texts.Load(q)
	if !ok {
		text, _ = b.texts.LoadOrStore(q, q.SQL(func(n int) string { return "$" + strconv.Itoa(n) }))
	}
	return text.(string)
}

// isText tells the server from now on that the query's parameters are text.
func (b *backend) isText(q *sqlaccount.Query) {
	b.texts.Store(q, q.SQL(func(n int) string { return "$" + strconv.Itoa(n) + "::text" }))
}

// run sends a query's statement and has read take the answer.
func (b *backend) run(
	ctx context.Context,
	q *sqlaccount.Query,
	v *sqlaccount.Values,
	read func(pgx.Rows) error,
) error {
	c, err := b.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	params := q.Params(v)
	hasNUL := func(p any) bool { return strings.IndexByte(p.(string), 0) >= 0 }
	if slices.ContainsFunc(params, hasNUL) {
		return sqlaccount.ErrValue
	}
	// pgx sends strings as the text that they are, whatever the parameter's type, and the server reads it as it
	// does the literals that they replace.
	mode := pgx.QueryExecModeCacheStatement
	if b.unnamed.Load() {
		mode = pgx.QueryExecModeCacheDescribe
	}
	args := append([]any{mode, pgx.QueryResultFormats{pgx.TextFormatCode}}, params...)
	rows, err := c.Query(ctx, b.text(q), args...)
	if err == nil {
		err = read(rows)
		rows.Close()
	}
	return ofValue(err, params)
}

// do runs a statement, and once more where the answer says that this may help: begun tells whether rows have
// been passed on.
func (b *backend) do(
	ctx context.Context,
	q *sqlaccount.Query,
	v *sqlaccount.Values,
	read func(pgx.Rows) (begun bool, err error),
) error {
	begun := false
	once := func() error {
		return b.run(ctx, q, v, func(rows pgx.Rows) (err error) {
			begun, err = read(rows)
			return err
		})
	}
	err := once()
	switch {
	case err == nil, begun, ctx.Err() != nil:
	case isUntyped(err):
		b.isText(q)
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
	q *sqlaccount.Query,
	v *sqlaccount.Values,
	row func([]string) (stop bool),
) error {
	return b.do(ctx, q, v, func(rows pgx.Rows) (begun bool, err error) {
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
	q *sqlaccount.Query,
	v *sqlaccount.Values,
) (n int64, err error) {
	err = b.do(ctx, q, v, func(rows pgx.Rows) (begun bool, err error) {
		rows.Close()
		n = rows.CommandTag().RowsAffected()
		return false, rows.Err()
	})
	return n, err
}
