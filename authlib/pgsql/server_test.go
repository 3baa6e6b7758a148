package pgsql

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"mailproxy/authlib/rcfile"
)

// server is as much of a PostgreSQL server as pgx needs: every statement answers with one row, its own text.
type server struct {
	t    testing.TB
	addr string

	mu sync.Mutex
	// pooler: prepared statements are gone when they are used, as behind a pooler in transaction mode.
	pooler bool
	// untyped: parameters without a cast have no type.
	untyped bool
	// fail is the code of the next execution's error.
	fail    string
	conns   map[net.Conn]bool
	dialled int
}

// newServer starts one.
func newServer(t testing.TB) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, addr: l.Addr().String(), conns: make(map[net.Conn]bool)}
	var wg sync.WaitGroup
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = true
			s.dialled++
			s.mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				s.serve(c)
			})
		}
	}()
	t.Cleanup(func() { l.Close(); s.restart(); wg.Wait() })
	return s
}

// restart ends all connections.
func (s *server) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
	clear(s.conns)
}

// set changes how it answers.
func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *server) serve(c net.Conn) {
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	b.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if b.Flush() != nil {
		return
	}
	prepared := make(map[string]string)
	current, failed := "", false
	refuse := func(code string) {
		failed = true
		b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: code, Message: "because"})
	}
	for {
		m, err := b.Receive()
		if err != nil {
			return
		}
		s.mu.Lock()
		switch m := m.(type) {
		case *pgproto3.Sync:
			failed = false
			if s.pooler {
				clear(prepared)
			}
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			err = b.Flush()
		case *pgproto3.Close:
			delete(prepared, m.Name)
			b.Send(&pgproto3.CloseComplete{})
		case *pgproto3.Terminate:
			err = net.ErrClosed
		case *pgproto3.Parse:
			if failed {
				break
			}
			if s.untyped && strings.Contains(m.Query, "$1") && !strings.Contains(m.Query, "$1::text") {
				refuse("42P18")
				break
			}
			prepared[m.Name] = m.Query
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Describe:
			if failed {
				break
			}
			if m.ObjectType == 'S' {
				oids := make([]uint32, strings.Count(prepared[m.Name], "$1"))
				for i := range oids {
					oids[i] = 25
				}
				b.Send(&pgproto3.ParameterDescription{ParameterOIDs: oids})
			}
			b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("a"), DataTypeOID: 25,
				DataTypeSize: -1}}})
		case *pgproto3.Bind:
			if failed {
				break
			}
			var ok bool
			if current, ok = prepared[m.PreparedStatement]; !ok {
				refuse("26000")
				break
			}
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Execute:
			if failed {
				break
			}
			if code := s.fail; code != "" {
				s.fail = ""
				refuse(code)
				break
			}
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(current)}})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// backend returns a backend of the server with at most so many connections.
func (s *server) backend(conns int) *backend {
	s.t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	settings, err := rcfile.Parse("##NAME: MARKER:0\nPGSQL_CONNECTION host=" + host + " port=" + port +
		" user=u dbname=d sslmode=disable\n")
	if err != nil {
		s.t.Fatal(err)
	}
	cfg, err := config(settings, s.t.Logf)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := open(cfg, conns)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(b.pool.Close)
	return b
}
