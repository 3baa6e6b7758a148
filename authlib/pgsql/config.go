package pgsql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"mailproxy/authlib/rcfile"
)

// ownSettings are those of the connection, without the prefix. Courier's older versions had more than one.
var ownSettings = []string{"CONNECTION", "HOST", "PORT", "USERNAME", "PASSWORD", "DATABASE", "OPT"}

// config reads PGSQL_CONNECTION, a libpq connection string: host lists, sslmode, certificates and
// target_session_attrs mean what PostgreSQL's documentation says.
func config(s *rcfile.Settings, warnf func(format string, args ...any)) (*pgxpool.Config, error) {
	text := s.Get("PGSQL_CONNECTION")
	if text == "" {
		return nil, errors.New("PGSQL_CONNECTION is not set")
	}
	pool, err := pgxpool.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("PGSQL_CONNECTION: %w", err)
	}
	cfg := &pool.ConnConfig.Config
	if cfg.ConnectTimeout == 0 || cfg.ConnectTimeout > connectTimeout {
		cfg.ConnectTimeout = connectTimeout
	}
	if set := s.Get("PGSQL_CHARACTER_SET"); set != "" {
		cfg.RuntimeParams["client_encoding"] = set
	}
	if addrs := cfg.RuntimeParams["hostaddr"]; addrs != "" {
		useAddresses(cfg, text, addrs)
	}
	// What is left of libpq's own parameters would reach the server, which does not know them.
	var ignored []string
	for _, p := range []struct {
		name string
		harm bool
	}{
		{"hostaddr", false}, {"keepalives", false}, {"keepalives_idle", false}, {"keepalives_interval", false},
		{"keepalives_count", false}, {"tcp_user_timeout", false}, {"gssencmode", false},
		{"gsslib", false}, {"gssdelegation", false},
		{"fallback_application_name", false}, {"sslcompression", false}, {"load_balance_hosts", false},
		{"sslcrl", true}, {"sslcrldir", true}, {"requirepeer", true}, {"ssl_min_protocol_version", true},
		{"ssl_max_protocol_version", true},
		{"requiressl", true},
	} {
		if _, set := cfg.RuntimeParams[p.name]; set {
			delete(cfg.RuntimeParams, p.name)
			if p.harm {
				ignored = append(ignored, p.name)
			}
		}
	}
	if len(ignored) > 0 {
		warnf("PGSQL_CONNECTION: %s: not supported, ignored", strings.Join(ignored, " "))
	}
	return pool, nil
}

// useAddresses makes names resolve to the addresses of hostaddr, place by place.
func useAddresses(cfg *pgconn.Config, text, addrs string) {
	hosts := []string{cfg.Host}
	for _, f := range cfg.Fallbacks {
		if hosts[len(hosts)-1] != f.Host {
			hosts = append(hosts, f.Host)
		}
	}
	list := strings.Split(addrs, ",")
	if !strings.Contains(" "+text, " host=") { // no names to speak of
		cfg.Host = list[0]
		for _, f := range cfg.Fallbacks {
			f.Host = list[0]
		}
		hosts = list[:1]
	}
	to := make(map[string]string)
	for i, host := range hosts {
		if i < len(list) {
			to[host] = list[i]
		}
	}
	lookup := cfg.LookupFunc
	cfg.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		if addr := to[host]; addr != "" {
			return []string{addr}, nil
		}
		return lookup(ctx, host)
	}
}
