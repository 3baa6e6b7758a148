package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"mailproxy/authlib/rcfile"
	"mailproxy/internal/trust"
)

// defaultSocket is where Debian's servers listen.
const defaultSocket = "/run/mysqld/mysqld.sock"

// optCompress is the bit of MYSQL_OPT for the compressed protocol, the only one that means anything here.
const optCompress = 32

// ownSettings are those of the connection, without the prefix.
var ownSettings = []string{
	"SERVER", "USERNAME", "PASSWORD", "DATABASE", "SOCKET", "PORT", "OPT", "SSL_KEY", "SSL_CERT", "SSL_CACERT",
	"SSL_CAPATH", "SSL_CIPHER", "SSL_CIPHERS",
}

// silent keeps the driver from writing to standard error; what it says there comes as an error too.
type silent struct{}

func (silent) Print(...any) {}

// config returns the driver's settings. As for Courier, the server "localhost" is the unix socket.
func config(s *rcfile.Settings, warnf func(format string, args ...any)) (*mysql.Config, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = s.Get("MYSQL_USERNAME"), s.Get("MYSQL_PASSWORD"), s.Get("MYSQL_DATABASE")
	cfg.ClientFoundRows = true
	// A connection that the server has ended is noticed by its use, which is then repeated: to look at each one
	// before its use costs a system call for each query.
	cfg.CheckConnLiveness = false
	cfg.Logger = silent{}
	server, socket := s.Get("MYSQL_SERVER"), s.Get("MYSQL_SOCKET")
	switch {
	case server == "" && socket == "":
		return nil, errors.New("MYSQL_SERVER or MYSQL_SOCKET must be set")
	case cfg.User == "":
		return nil, errors.New("MYSQL_USERNAME is not set")
	case cfg.DBName == "":
		return nil, errors.New("MYSQL_DATABASE is not set")
	}
	if server == "" || server == "localhost" {
		cfg.Net, cfg.Addr = "unix", socket
		if socket == "" {
			cfg.Addr = defaultSocket
		}
	}
	port, err := s.Number("MYSQL_PORT")
	if err != nil {
		return nil, err
	}
	opt, err := s.Number("MYSQL_OPT")
	if err != nil {
		return nil, err
	}
	if cfg.Net != "unix" {
		if port == 0 {
			port = 3306
		}
		cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(strings.Trim(server, "[]"), strconv.Itoa(port))
	}
	if opt&optCompress != 0 {
		if err := cfg.Apply(mysql.EnableCompression(true)); err != nil {
			return nil, err
		}
	}
	charset := strings.ToLower(s.Default("MYSQL_CHARACTER_SET", "utf8mb4"))
	if err := cfg.Apply(mysql.Charset(charset, "")); err != nil {
		return nil, err
	}
	cfg.TLS, err = tlsConfig(s, server, warnf)
	return cfg, err
}

// tlsConfig returns nil when neither a CA file nor a CA directory is set. The server's certificate must come
// from one of those; its name is not looked at, as with libmysqlclient's VERIFY_CA.
func tlsConfig(
	s *rcfile.Settings,
	server string,
	warnf func(format string, args ...any),
) (*tls.Config, error) {
	file := trust.Setting{Name: "MYSQL_SSL_CACERT", Path: s.Get("MYSQL_SSL_CACERT")}
	directory := trust.Setting{Name: "MYSQL_SSL_CAPATH", Path: s.Get("MYSQL_SSL_CAPATH")}
	if file.Path == "" && directory.Path == "" {
		return nil, nil
	}
	roots, err := trust.Load(file, directory)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{ServerName: server, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		inter := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			inter.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: inter})
		return err
	}
	if cert := s.Get("MYSQL_SSL_CERT"); cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, s.Default("MYSQL_SSL_KEY", cert))
		if err != nil {
			return nil, fmt.Errorf("MYSQL_SSL_CERT: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	cfg.CipherSuites = ciphers(s.First("MYSQL_SSL_CIPHER", "MYSQL_SSL_CIPHERS"), warnf)
	return cfg, nil
}

// ciphers returns the suites of TLS 1.2 that an OpenSSL list names; nil, the library's own choice, when it
// names none.
func ciphers(list string, warnf func(format string, args ...any)) (ids []uint16) {
	known := map[string]uint16{
		"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	var unknown []string
	for word := range strings.FieldsFuncSeq(list, func(r rune) bool { return strings.ContainsRune(": ,", r) }) {
		if id, ok := known[word]; ok {
			ids = append(ids, id)
		} else {
			unknown = append(unknown, word)
		}
	}
	if len(unknown) > 0 {
		warnf("MYSQL_SSL_CIPHER: %s: not names of cipher suites known here, ignored", strings.Join(unknown, " "))
	}
	return ids
}
