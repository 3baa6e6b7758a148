package tlsconf

import (
	"crypto/tls"
	"fmt"
	"slices"
	"testing"

	"mailproxy/internal/config"
)

// The lowest version with clients, after STARTTLS and without, is what the settings name, or TLS 1.2.
func TestMinVersion(t *testing.T) {
	for _, c := range []struct{ protocol, startTLS, want, wantStartTLS uint16 }{
		{0, 0, tls.VersionTLS12, tls.VersionTLS12},
		{tls.VersionTLS13, tls.VersionTLS11, tls.VersionTLS13, tls.VersionTLS11},
		{tls.VersionTLS13, 0, tls.VersionTLS13, tls.VersionTLS13},
		{0, tls.VersionTLS10, tls.VersionTLS12, tls.VersionTLS10},
	} {
		o := Options{TLS: config.TLS{Protocol: c.protocol, StartTLSProtocol: c.startTLS}}
		got := o.minVersion()
		o.StartTLS = true
		if gotStartTLS := o.minVersion(); got != c.want || gotStartTLS != c.wantStartTLS {
			t.Errorf("%+v: %x, after STARTTLS %x", c, got, gotStartTLS)
		}
	}
}

// Words of TLS_CIPHER_LIST that are not understood draw one warning.
func TestUnknownCiphers(t *testing.T) {
	var warnings []string
	o := Options{Warn: func(format string, a ...any) { warnings = append(warnings, fmt.Sprintf(format, a...)) }}
	o.TLS.Ciphers = config.Ciphers{IDs: []uint16{1}, Unknown: []string{"FOO", "BAR"}}
	cfg := o.serverPolicy()
	want := []string{`TLS_CIPHER_LIST: not available here: "FOO BAR"`}
	if !slices.Equal(cfg.CipherSuites, o.TLS.Ciphers.IDs) || !slices.Equal(warnings, want) {
		t.Errorf("%v, %q", cfg.CipherSuites, warnings)
	}
}
