// Package mysql serves accounts from a MySQL or MariaDB database as Courier's authmysqlrc describes it. See package
// sqlaccount for the settings that it shares with PostgreSQL, and config.go for those of the connection.
package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"mailproxy/authlib/pool"
	"mailproxy/authlib/rcfile"
	"mailproxy/authlib/sqlaccount"
	"mailproxy/authlib/sqlquery"
)

// Time limits. A request that meets a mute connection takes both in turn, which is less than a client waits.
const (
	connectTimeout = 5 * time.Second
	queryTimeout   = 8 * time.Second
)

// New returns the module authmysql, configured by file, with at most conns connections. It does not fail: a file that
// cannot be used is logged by logf, one line each, and requests fail until it can.
func New(file string, conns int, logf func(format string, args ...any)) *sqlaccount.Module {
	const name = "authmysql"
	return sqlaccount.New(name, "MYSQL_", file, func(s *rcfile.Settings) (sqlaccount.Backend, error) {
		return open(s, conns, func(format string, args ...any) {
			logf(name+": "+format, args...)
		})
	}, logf)
}

// backend is one server as the settings describe it.
type backend struct {
	connector driver.Connector
	charset   string
	pool      *pool.Pool[*conn]
}

func open(s *rcfile.Settings, conns int, warnf func(format string, args ...any)) (*backend, error) {
	cfg, charset, err := config(s, warnf)
	if err != nil {
		return nil, err
	}
	b := &backend{charset: charset}
	cfg.DialFunc = dial
	if b.connector, err = mysql.NewConnector(cfg); err != nil {
		return nil, err
	}
	b.pool = pool.New(conns, b.connect)
	return b, nil
}

func (b *backend) Retire() { b.pool.Retire() }
func (b *backend) Close()  { b.pool.Close() }

// conn is one connection. It talks to the driver directly: database/sql would cost half as much again as a query.
type conn struct {
	net     net.Conn
	db      driver.Conn
	dialect sqlquery.Dialect
	queries map[*sqlquery.Template]*statement
	args    []driver.Value
	dest    []driver.Value
	columns []string
	text    []byte
}

type statement struct {
	query    *sqlquery.Query
	prepared driver.Stmt // nil when the text depends on the values
}

// dialed carries the network connection that the driver had made out of its Connect.
type dialed struct{ conn net.Conn }

type dialedKey struct{}

// dial connects and limits the whole handshake.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c = pool.Quick(c)
	if t, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(t); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if d, ok := ctx.Value(dialedKey{}).(*dialed); ok {
		d.conn = c
	}
	return c, nil
}

func (b *backend) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var d dialed
	db, err := b.connector.Connect(context.WithValue(ctx, dialedKey{}, &d))
	if err != nil {
		return nil, err
	}
	c := &conn{net: d.conn, db: db, queries: make(map[*sqlquery.Template]*statement)}
	if err := c.learn(ctx, b.charset); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// learn asks the server how it reads string literals.
func (c *conn) learn(ctx context.Context, charset string) error {
	rows, err := c.db.(driver.QueryerContext).QueryContext(ctx, "SELECT @@sql_mode", nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	dest := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(dest); err != nil {
		return err
	}
	c.dialect = sqlquery.Dialect{MySQL: true, Backslash: true, Multibyte: sqlquery.Multibyte(charset)}
	for mode := range strings.SplitSeq(string(appendValue(nil, dest[0])), ",") {
		switch mode {
		case "NO_BACKSLASH_ESCAPES":
			c.dialect.Backslash = false
		case "ANSI_QUOTES":
			c.dialect.ANSIQuotes = true
		}
	}
	return nil
}

func (c *conn) Close() {
	c.net.SetDeadline(time.Now()) // the driver says goodbye, and must not wait for it
	c.db.Close()
}

// statement returns the statement of a template, prepared unless its text depends on the values.
func (c *conn) statement(t *sqlquery.Template, v *sqlquery.Values) (s *statement, prepared driver.Stmt, err error) {
	s = c.queries[t]
	if s == nil {
		s = &statement{}
		if s.query, err = t.Compile(c.dialect); err != nil {
			return nil, nil, err
		}
		if sql, fixed := s.query.Fixed(); fixed {
			if s.prepared, err = c.db.Prepare(sql); err != nil {
				return nil, nil, err
			}
		}
		c.queries[t] = s
	}
	if s.prepared != nil {
		return s, s.prepared, nil
	}
	sql, err := s.query.SQL(v)
	if err != nil {
		return nil, nil, err
	}
	prepared, err = c.db.Prepare(sql)
	return s, prepared, err
}

// bind returns the statement's parameters, valid until the next call.
func (c *conn) bind(q *sqlquery.Query, v *sqlquery.Values) []driver.Value {
	c.args = c.args[:0]
	for i := range q.NumParams() {
		c.args = append(c.args, q.Param(i, v))
	}
	return c.args
}

// Query implements sqlaccount.Backend.
func (b *backend) Query(ctx context.Context, t *sqlquery.Template, v *sqlquery.Values, row func([]string) (bool, error)) error {
	return b.run(ctx, t, v, func(c *conn, prepared driver.Stmt, args []driver.Value) error {
		//lint:ignore SA1019 the deadline is set already, and this way needs no second copy of the parameters
		rows, err := prepared.Query(args)
		if err != nil {
			return classify(err, v)
		}
		return c.read(ctx, rows, v, row)
	})
}

// run has do send a template's statement on a connection with its deadline set. args are valid until do returns.
func (b *backend) run(ctx context.Context, t *sqlquery.Template, v *sqlquery.Values,
	do func(c *conn, prepared driver.Stmt, args []driver.Value) error) error {
	return b.pool.Do(ctx, func(c *conn) error {
		if err := c.net.SetDeadline(pool.Deadline(ctx, queryTimeout)); err != nil {
			return pool.Dead(err)
		}
		s, prepared, err := c.statement(t, v)
		if err != nil {
			return classify(err, v)
		}
		if s.prepared == nil {
			defer prepared.Close()
		}
		return do(c, prepared, c.bind(s.query, v))
	})
}

// read passes the rows on. Once one has been, the query cannot be repeated.
func (c *conn) read(ctx context.Context, rows driver.Rows, v *sqlquery.Values, row func([]string) (bool, error)) error {
	n := len(rows.Columns())
	for len(c.dest) < n {
		c.dest = append(c.dest, nil)
	}
	for passed := 0; ; passed++ {
		if passed > 0 && passed%1000 == 0 { // a long list may take as long as it moves on
			if err := c.net.SetDeadline(pool.Deadline(ctx, queryTimeout)); err != nil {
				return pool.Final(err)
			}
		}
		switch err := rows.Next(c.dest[:n]); {
		case err == io.EOF && passed == 0 && n == 0:
			return errors.Join(errors.New("the query returns no rows at all: not a SELECT"), rows.Close())
		case err == io.EOF:
			return rows.Close()
		case err != nil && passed > 0:
			return pool.Final(err)
		case err != nil:
			return classify(err, v)
		}
		stop, err := row(c.row(c.dest[:n]))
		if stop || err != nil {
			if closing := rows.Close(); closing != nil { // reads what is left
				return pool.Final(errors.Join(err, closing))
			}
			return err
		}
	}
}

// row returns the values as strings, cut from one. The slice is valid until the next call.
func (c *conn) row(values []driver.Value) []string {
	c.text, c.columns = c.text[:0], c.columns[:0]
	var ends [16]int
	cuts := ends[:0]
	for _, v := range values {
		c.text = appendValue(c.text, v)
		cuts = append(cuts, len(c.text))
	}
	all, start := string(c.text), 0
	clear(c.text) // there may be a password in it
	for _, end := range cuts {
		c.columns = append(c.columns, all[start:end])
		start = end
	}
	return c.columns
}

// appendValue writes a column as text; NULL is nothing.
func appendValue(b []byte, v driver.Value) []byte {
	switch v := v.(type) {
	case nil:
		return b
	case []byte:
		return append(b, v...)
	case string:
		return append(b, v...)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float32:
		return strconv.AppendFloat(b, float64(v), 'g', -1, 32)
	case float64:
		return strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	return fmt.Append(b, v)
}

// Exec implements sqlaccount.Backend.
func (b *backend) Exec(ctx context.Context, t *sqlquery.Template, v *sqlquery.Values) (n int64, err error) {
	err = b.run(ctx, t, v, func(_ *conn, prepared driver.Stmt, args []driver.Value) error {
		//lint:ignore SA1019 as in Query
		result, err := prepared.Exec(args)
		if err != nil {
			return classify(err, v)
		}
		n, err = result.RowsAffected()
		return err
	})
	return n, err
}

// Error numbers of the server, from its reference manual.
const (
	errShutdown         = 1053
	errMixOfCollations  = 1267
	errTruncatedValue   = 1292
	errBadCharacter     = 1300
	errWrongString      = 1366
	errNoStatement      = 1243
	errReprepare        = 1615
	errConnectionKilled = 1927
	errCannotConvert    = 3854
	errIdleTooLong      = 4031
)

// classify tells a dead connection and a value that no row can have from a query that does not work.
func classify(err error, v *sqlquery.Values) error {
	var server *mysql.MySQLError
	if !errors.As(err, &server) {
		if errors.Is(err, sqlquery.ErrValue) {
			return err
		}
		return pool.Dead(err)
	}
	switch server.Number {
	case errShutdown, errNoStatement, errReprepare, errConnectionKilled, errIdleTooLong:
		return pool.Dead(err)
	case errTruncatedValue, errBadCharacter, errWrongString, errCannotConvert:
		return fmt.Errorf("%w: %w", sqlquery.ErrValue, err)
	case errMixOfCollations:
		// A column in a smaller character set than the connection's is compared to a name that it cannot hold.
		if strings.Trim(v.User, printable) != "" {
			return fmt.Errorf("%w: %w", sqlquery.ErrValue, err)
		}
	}
	return err
}
