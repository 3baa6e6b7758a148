package tlsnames

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for list, want := range map[string]uint16{
		"":             0,
		"TLSv1":        tls.VersionTLS10,
		"TLS1":         tls.VersionTLS10,
		"TLSv1.1":      tls.VersionTLS11,
		"TLSv1.1++":    tls.VersionTLS11,
		"TLS1_1":       tls.VersionTLS11,
		"TLSv1.2":      tls.VersionTLS12,
		"TLSv1.2+":     tls.VersionTLS12,
		"TLSv1.2++":    tls.VersionTLS12,
		"TLSv1.3":      tls.VersionTLS13,
		"tlsv1.3++":    tls.VersionTLS13,
		"SSL23":        tls.VersionTLS12,
		"TLS1_2:TLS1":  tls.VersionTLS10,
		"TLS1:SSL3":    tls.VersionTLS10,
		"SSL3:TLSv1.3": tls.VersionTLS13,
		// What does not exist never lowers the version.
		"SSL2": 0, "SSLv3": 0, "SSL3+": 0,
	} {
		if got, err := ParseVersion(list); got != want || err != nil {
			t.Errorf("%q: %x, %v; want %x", list, got, err, want)
		}
	}
	for _, list := range []string{"TLSv9", "yes", "TLSv1.2:TLSv1.4", "+"} {
		if got, err := ParseVersion(list); err == nil {
			t.Errorf("%q: %x", list, got)
		}
	}
}

func TestCipherList(t *testing.T) {
	names := func(ids []uint16) string {
		var s []string
		for _, c := range ciphers {
			if slices.Contains(ids, c.id) {
				s = append(s, c.name)
			}
		}
		return strings.Join(s, " ")
	}
	const aead = "ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 " +
		"ECDHE-RSA-AES256-GCM-SHA384 " +
		"ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305"
	const cbc = "ECDHE-ECDSA-AES128-SHA ECDHE-RSA-AES128-SHA ECDHE-ECDSA-AES256-SHA ECDHE-RSA-AES256-SHA"
	for _, c := range []struct{ list, want, unknown string }{
		{"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", ""},
		{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", ""},
		{"AES128-SHA", "AES128-SHA", ""},
		{"HIGH", aead + " " + cbc, ""},
		{"DEFAULT", aead + " " + cbc, ""},
		// the example of Courier's own file
		{"TLSv1:HIGH:!LOW:!MEDIUM:!EXP:!NULL:!aNULL@STRENGTH", aead + " " + cbc, ""},
		{"HIGH:!SHA1:!SHA", aead, ""},
		{"HIGH -SHA1, -SHA", aead, ""},
		{"ECDHE+AESGCM", "ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256 " +
			"ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384", ""},
		{"EECDH+CHACHA20:@STRENGTH", "ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305", ""},
		{"RSA+AESGCM", "AES128-GCM-SHA256 AES256-GCM-SHA384", ""},
		{"HIGH:!ALL", "", ""},
		{"!ECDSA:HIGH:!SHA:+AES", "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384 " +
			"ECDHE-RSA-CHACHA20-POLY1305", ""},
		{"DHE-RSA-AES256-SHA:ECDHE-RSA-AES256-SHA:camellia", "ECDHE-RSA-AES256-SHA", "DHE-RSA-AES256-SHA camellia"},
		{"TLS_AES_128_GCM_SHA256:AES256-SHA", "AES256-SHA", ""},
		{"LOW", "", "LOW"},
		{"ECDHE+", "", "ECDHE+"},
		{"!", "", ""},
	} {
		ids, unknown := ParseCiphers(c.list)
		if got := names(ids); got != c.want || strings.Join(unknown, " ") != c.unknown && c.list != "!" {
			t.Errorf("%q:\n got %q, unknown %q\nwant %q, unknown %q", c.list, got, unknown, c.want, c.unknown)
		}
	}
}

// The table must know each suite that crypto/tls has, and take its judgement of them.
func TestCipherTable(t *testing.T) {
	for _, s := range tls.CipherSuites() {
		if !slices.Equal(s.SupportedVersions, []uint16{tls.VersionTLS13}) {
			checkSuite(t, s, false)
		}
	}
	for _, s := range tls.InsecureCipherSuites() {
		checkSuite(t, s, true)
	}
}

func checkSuite(t *testing.T, s *tls.CipherSuite, weak bool) {
	i := slices.IndexFunc(ciphers, func(c cipher) bool { return c.id == s.ID })
	if i < 0 || ciphers[i].weak != weak {
		t.Errorf("%s: in the table at %d, want weak=%v", s.Name, i, weak)
	}
}

func FuzzCipherList(f *testing.F) {
	for _, s := range []string{"HIGH:!aNULL", "ECDHE+AESGCM:-SHA@STRENGTH", "+:!:-:@", "AES128-SHA", "RSA+",
		""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		ids, _ := ParseCiphers(list)
		for i, id := range ids {
			if slices.Contains(ids[:i], id) {
				t.Errorf("%q: suite %x twice", list, id)
			}
		}
		// What is killed at the end is never there.
		if ids, _ := ParseCiphers(list + ":!ECDHE"); slices.ContainsFunc(ids, func(id uint16) bool {
			return strings.Contains(tls.CipherSuiteName(id), "ECDHE")
		}) {
			t.Errorf("%q: !ECDHE leaves some", list)
		}
	})
}

func FuzzVersion(f *testing.F) {
	for _, s := range []string{"TLSv1.2++", "SSL3:TLS1", "", "++"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		v, _ := ParseVersion(value)
		if v != 0 && v < tls.VersionTLS12 && !strings.Contains(value, "1") {
			t.Errorf("%q gives version %x that it does not name", value, v)
		}
	})
}
