package frontend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"mailproxy/internal/inetd"
	"mailproxy/internal/tlsconf"
)

// proxyTLS is the setting PROXY_TLS.
type proxyTLS int

const (
	proxyTLSOff   proxyTLS = iota // NO, and no setting: clear text
	proxyTLSStart                 // STARTTLS: STARTTLS or STLS on the clear-text port
	proxyTLSPort                  // YES: TLS from the first byte, on port 993 or 995
)

func parseProxyTLS(s inetd.Settings) (proxyTLS, error) {
	switch value := s.Get("PROXY_TLS"); strings.ToUpper(value) {
	case "", "NO", "0":
		return proxyTLSOff, nil
	case "STARTTLS":
		return proxyTLSStart, nil
	case "YES", "1":
		return proxyTLSPort, nil
	default:
		return 0, fmt.Errorf("PROXY_TLS=%q: must be NO, STARTTLS or YES", value)
	}
}

// mailhostPort is the port of a mailhost whose option names none.
func (s *Session) mailhostPort() (string, error) {
	mode, err := parseProxyTLS(s.Settings)
	if mode == proxyTLSPort {
		return s.Protocol.TLSPort, err
	}
	return s.Protocol.Port, err
}

// secureMailhost encrypts a fresh connection to a mailhost, or arranges that its Login does. host is the name that the
// certificate must be for. Whatever fails makes the server unusable: nothing is ever said to it in clear text instead.
func (s *Session) secureMailhost(ctx context.Context, m *Mailhost, host string) error {
	mode, err := parseProxyTLS(s.Settings)
	if err != nil || mode == proxyTLSOff {
		return err
	}
	start := func(ctx context.Context) error {
		cfg, err := tlsconf.NewClient(s.tlsOptions(false), host)
		if err != nil {
			return &StepError{StepTLS, err}
		}
		conn, err := tlsconf.Connect(ctx, m.Conn, cfg)
		if err != nil {
			return &StepError{StepTLS, err}
		}
		m.Conn, m.StartTLS = conn, nil
		return nil
	}
	if mode == proxyTLSPort {
		return start(ctx)
	}
	m.StartTLS = start
	return nil
}

// maxMasterFile bounds PROXY_MASTER_PASSWORD_FILE.
const maxMasterFile = 4096

// errMasterPassword: the password of PROXY_MASTER_USER can not be used; the text around it says why.
var errMasterPassword = errors.New("PROXY_MASTER_PASSWORD_FILE")

// mailhostLogin sets who logs in at the mailhost: the account with its own clear password, or, where PROXY_MASTER_USER
// is set, that user on behalf of the account (SASL PLAIN with an authorization identity, RFC 4616), which needs no clear password.
// ok is false when there is no password to log in with.
func (s *Session) mailhostLogin(m *Mailhost, address, password string) (ok bool, err error) {
	master := s.Settings.Get("PROXY_MASTER_USER")
	if master == "" {
		m.User, m.Password = address, password
		return password != "", nil
	}
	secret, err := readMasterPassword(s.Settings.Get("PROXY_MASTER_PASSWORD_FILE"))
	if err != nil {
		return false, err
	}
	m.User, m.Password, m.Authzid = master, secret, address
	return true, nil
}

// readMasterPassword returns the first line of a file that nobody but its owner and group can read.
func readMasterPassword(path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("%w is not set", errMasterPassword)
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", errMasterPassword, err)
	case !st.Mode().IsRegular():
		return "", fmt.Errorf("%w: %s is not a regular file", errMasterPassword, path)
	case st.Mode()&0o007 != 0:
		return "", fmt.Errorf("%w: %s can be read or written by everybody", errMasterPassword, path)
	case st.Size() > maxMasterFile:
		return "", fmt.Errorf("%w: %s is too long", errMasterPassword, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errMasterPassword, err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || strings.ContainsFunc(line, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return "", fmt.Errorf("%w: %s: no password in its first line, or a control character", errMasterPassword, path)
	}
	return line, nil
}
