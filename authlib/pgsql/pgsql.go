// Package pgsql serves accounts from a PostgreSQL database as Courier's authpgsqlrc describes it. See package sqlaccount
// for the settings that it shares with MySQL, and config.go for those of the connection.
package pgsql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"mailproxy/authlib/pool"
	"mailproxy/authlib/rcfile"
	"mailproxy/authlib/sqlaccount"
	"mailproxy/authlib/sqlquery"
)

// Time limits. A request that meets a mute connection takes both in turn, which is less than a client waits.
const (
	connectTimeout = 5 * time.Second // for each host, unless connect_timeout says less
	queryTimeout   = 8 * time.Second
)

// New returns the module authpgsql, configured by file, with at most conns connections. It does not fail: a file that
// cannot be used is logged by logf, one line each, and requests fail until it can.
func New(file string, conns int, logf func(format string, args ...any)) *sqlaccount.Module {
	const name = "authpgsql"
	return sqlaccount.New(name, "PGSQL_", file, func(s *rcfile.Settings) (sqlaccount.Backend, error) {
		cfg, err := config(s, func(format string, args ...any) { logf(name+": "+format, args...) })
		if err != nil {
			return nil, err
		}
		b := &backend{cfg: cfg}
		b.pool = pool.New(conns, b.connect)
		return b, nil
	}, logf)
}

// backend is one database as the settings describe it.
type backend struct {
	cfg  *pgconn.Config
	pool *pool.Pool[*conn]
}

func (b *backend) Retire() { b.pool.Retire() }
func (b *backend) Close()  { b.pool.Close() }

// conn is one connection.
type conn struct {
	pg      *pgconn.PgConn
	dialect sqlquery.Dialect
	queries map[*sqlquery.Template]*statement
	args    [][]byte
	text    []byte
	columns []string
	// unnamed says that prepared statements do not live as long as the connection: there is a pooler in between.
	unnamed bool
}

type statement struct {
	query    *sqlquery.Query
	prepared *pgconn.StatementDescription // nil when the text depends on the values
}

func (b *backend) connect(ctx context.Context) (*conn, error) {
	pg, err := pgconn.ConnectConfig(ctx, b.cfg)
	if err != nil {
		return nil, err
	}
	return &conn{
		pg: pg,
		dialect: sqlquery.Dialect{
			Backslash: pg.ParameterStatus("standard_conforming_strings") == "off",
			Multibyte: sqlquery.Multibyte(pg.ParameterStatus("client_encoding")),
		},
		queries: make(map[*sqlquery.Template]*statement),
	}, nil
}

// Close ends the connection without waiting for the server.
func (c *conn) Close() { c.pg.Conn().Close() }

// statement returns the compiled template, prepared if it can be.
func (c *conn) statement(t *sqlquery.Template) (*statement, error) {
	if s := c.queries[t]; s != nil {
		return s, nil
	}
	q, err := t.Compile(c.dialect)
	if err != nil {
		return nil, err
	}
	s := &statement{query: q}
	if sql, fixed := q.Fixed(); fixed && !c.unnamed {
		if s.prepared, err = c.prepare(sql, q.NumParams()); err != nil {
			return nil, err
		}
	}
	c.queries[t] = s
	return s, nil
}

// prepare lets the server find out the parameters' types, as it does for the literals that they replace. Where it
// cannot, they are text.
func (c *conn) prepare(sql string, params int) (*pgconn.StatementDescription, error) {
	name := "auth" + strconv.Itoa(len(c.queries))
	sd, err := c.pg.Prepare(context.Background(), name, sql, nil)
	if isUntyped(err) {
		sd, err = c.pg.Prepare(context.Background(), name, sql, textTypes(params))
	}
	return sd, err
}

func textTypes(n int) []uint32 {
	const text = 25 // the type's OID
	types := make([]uint32, n)
	for i := range types {
		types[i] = text
	}
	return types
}

// run sends the query; the caller reads its rows and closes it.
func (c *conn) run(t *sqlquery.Template, v *sqlquery.Values) (*pgconn.ResultReader, error) {
	s, err := c.statement(t)
	if err != nil {
		return nil, err
	}
	c.args = c.args[:0]
	for i := range s.query.NumParams() {
		value := s.query.Param(i, v)
		if strings.IndexByte(value, 0) >= 0 {
			return nil, sqlquery.ErrValue
		}
		c.args = append(c.args, []byte(value))
	}
	if s.prepared != nil {
		return c.pg.ExecStatement(context.Background(), s.prepared, c.args, nil, nil), nil
	}
	sql, err := s.query.SQL(v)
	if err != nil {
		return nil, err
	}
	return c.pg.ExecParams(context.Background(), sql, c.args, nil, nil, nil), nil
}

// do runs use with a connection whose reads and writes are limited.
func (b *backend) do(ctx context.Context, use func(*conn) error) error {
	return b.pool.Do(ctx, func(c *conn) error {
		if err := c.limit(ctx); err != nil {
			return pool.Dead(err)
		}
		err := use(c)
		var server *pgconn.PgError
		if errors.As(err, &server) && (server.Code == "26000" || server.Code == "42P05") && !c.unnamed {
			c.unnamed = true
			clear(c.queries)
			err = use(c)
		}
		return classify(err, c)
	})
}

func (c *conn) limit(ctx context.Context) error {
	return c.pg.Conn().SetDeadline(pool.Deadline(ctx, queryTimeout))
}

// Query implements sqlaccount.Backend.
func (b *backend) Query(ctx context.Context, t *sqlquery.Template, v *sqlquery.Values, row func([]string) (bool, error)) error {
	return b.do(ctx, func(c *conn) error {
		r, err := c.run(t, v)
		if err != nil {
			return err
		}
		passed := 0
		for r.NextRow() {
			if passed++; passed%1000 == 0 { // a long list may take as long as it moves on
				if err := c.limit(ctx); err != nil {
					return pool.Final(err)
				}
			}
			stop, err := row(c.row(r.Values()))
			if err != nil {
				if _, closing := r.Close(); closing != nil {
					return pool.Final(err)
				}
				return err
			}
			if stop {
				break
			}
		}
		_, err = r.Close() // reads what is left
		if err != nil && passed > 0 {
			return pool.Final(err)
		}
		return err
	})
}

// row returns the values as strings, cut from one; NULL is "". The slice is valid until the next call.
func (c *conn) row(values [][]byte) []string {
	c.text, c.columns = c.text[:0], c.columns[:0]
	for _, v := range values {
		c.text = append(c.text, v...)
	}
	all := string(c.text)
	clear(c.text) // there may be a password in it
	for _, v := range values {
		c.columns = append(c.columns, all[:len(v)])
		all = all[len(v):]
	}
	return c.columns
}

// Exec implements sqlaccount.Backend.
func (b *backend) Exec(ctx context.Context, t *sqlquery.Template, v *sqlquery.Values) (n int64, err error) {
	err = b.do(ctx, func(c *conn) error {
		r, err := c.run(t, v)
		if err != nil {
			return err
		}
		tag, err := r.Close()
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// isUntyped tells the errors of a statement whose parameters' types the server cannot find out: indeterminate_datatype,
// ambiguous_parameter, ambiguous_function.
func isUntyped(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && (server.Code == "42P18" || server.Code == "42P08" || server.Code == "42725")
}

// classify tells a dead connection and a value that no row can have from a query that does not work. The codes are
// those of PostgreSQL's documentation, appendix A.
func classify(err error, c *conn) error {
	var server *pgconn.PgError
	switch {
	case err == nil, pool.Marked(err), errors.Is(err, sqlquery.ErrValue):
		return err
	case !errors.As(err, &server):
		if c.pg.IsClosed() || isNet(err) {
			return pool.Dead(err)
		}
		return err
	case c.pg.IsClosed(),
		strings.HasPrefix(server.Code, "08"),  // connection exception
		strings.HasPrefix(server.Code, "57P"), // operator intervention: shutdown
		server.Code == "0A000":                // a table was changed under a prepared statement
		return pool.Dead(err)
	case strings.HasPrefix(server.Code, "22"): // data exception: not a number, not in this character set
		return fmt.Errorf("%w: %w", sqlquery.ErrValue, err)
	}
	return err
}
