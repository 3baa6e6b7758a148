package tlsconf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/config"
	"mailproxy/tests/testcert"
)

// Every way in which the files of a certificate are wrong in the field is named with the file and what to do.
func TestInspect(t *testing.T) {
	ca := testcert.CA(t, "Test CA")
	good := ca.Issue(t, testcert.Spec{Name: "mail.example.com"})
	other := ca.Issue(t, testcert.Spec{Name: "other.example.com"})
	long := ca.Issue(t, testcert.Spec{Name: "mail.example.com", Age: -15 * 24 * time.Hour})
	nameless := ca.Issue(t, testcert.Spec{Name: "a b", Age: -15 * 24 * time.Hour})
	mismatch := errMismatch.Error()
	const encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
	for _, c := range []struct {
		name      string
		cert, key []byte // key nil: in one file
		beside    map[string][]byte
		settings  config.TLS
		after     time.Duration // the clock goes ahead
		names     []string
		want      []string // "0 part of a text", the grade first
	}{
		{name: "good", cert: good.PEM(t), want: []string{"1 C: the certificate expires in 0 days"}},
		{name: "expired", cert: good.PEM(t), after: 25 * time.Hour,
			want: []string{"2 C: the certificate expired on"}},
		{name: "not yet", cert: good.PEM(t), after: -50 * time.Hour,
			want: []string{"2 C: the certificate is not good before"}},
		{name: "in time", cert: long.PEM(t), want: []string{"0 C: for mail.example.com until"}},
		{name: "no names", cert: nameless.PEM(t), want: []string{
			"0 C: for no name until", "1 C: the certificate has no alternative names",
		}},
		{name: "not a pair", cert: good.CertPEM(), key: other.KeyPEM(t),
			want: []string{"2 C, K: " + mismatch + ": TLS_CERTFILE and TLS_PRIVATE_KEYFILE must name"}},
		{name: "not a pair, one file", cert: append(good.CertPEM(), other.KeyPEM(t)...),
			want: []string{"2 C: " + mismatch + ": the file"}},
		{name: "authority first", cert: append(ca.CertPEM(), good.CertPEM()...), key: good.KeyPEM(t),
			want: []string{"2 C, K: " + mismatch + ": certificate 2 of the file is the key's and has to be"}},
		{name: "pass phrase", cert: good.CertPEM(), key: []byte(encrypted),
			want: []string{"2 C, K: the private key is protected by a pass phrase: openssl pkey -in K -out K.new"}},
		{name: "certificate in DER", cert: good.DER, key: good.KeyPEM(t),
			want: []string{"2 C is in binary form (DER), not PEM: openssl x509 -inform DER -in C -out C.pem"}},
		{name: "key in DER", cert: good.CertPEM(), key: good.KeyDER(t),
			want: []string{"2 K is in binary form (DER), not PEM: openssl pkey -inform DER -in K -out K.pem"}},
		{name: "PKCS 12", cert: []byte("0\x82\x01\x02\x02\x01\x03"), key: good.KeyPEM(t),
			want: []string{"2 C is in binary form (DER), not PEM: openssl pkcs12 -nodes"}},
		{name: "no key", cert: good.CertPEM(),
			want: []string{"2 C: no PRIVATE KEY in PEM form: TLS_PRIVATE_KEYFILE names"}},
		{name: "no certificate", cert: []byte("hello"), key: good.KeyPEM(t),
			want: []string{"2 C, K: no CERTIFICATE in PEM form: TLS_CERTFILE must hold"}},
		{name: "no setting", want: []string{"2 TLS_CERTFILE is not set"}},
		{name: "names", cert: long.PEM(t), names: []string{"mail.example.com", "imap.example.com"}, want: []string{
			"0 C: for mail.example.com",
			"2 no certificate is good for imap.example.com, to which clients connect: C is for mail.example.com",
		}},
		{name: "own names", cert: long.PEM(t), names: []string{"other.example.com", "wrong.example.com"},
			beside: map[string][]byte{
				"other.example.com": other.PEM(t), "wrong.example.com": other.PEM(t),
				"broken.example.com": []byte("nonsense"), "Upper.example.com": other.PEM(t),
				"127.0.0.1": other.PEM(t), "bak": []byte("nonsense"),
			}, want: []string{
				"0 C: for mail.example.com", "1 C.127.0.0.1: the certificate expires in",
				"1 C.127.0.0.1 is what clients that ask for 127.0.0.1 get, but it is for other.example.com",
				"1 C.Upper.example.com is never chosen",
				"1 C.broken.example.com: no CERTIFICATE in PEM form: TLS_CERTFILE must hold the certificate, " +
					"followed by its chain, TLS_PRIVATE_KEYFILE the key; clients that ask for broken.example.com get C",
				"1 C.other.example.com: the certificate expires in", "1 C.wrong.example.com: the certificate expires in",
				"1 C.wrong.example.com is what clients that ask for wrong.example.com get, but it is for",
				"2 no certificate is good for wrong.example.com",
			}},
		{name: "authorities", cert: long.PEM(t),
			settings: config.TLS{Verify: config.VerifyPeer, TrustCerts: "/nowhere"},
			want:     []string{"2 TLS_TRUSTCERTS: open /nowhere: ", "0 C: for"}},
	} {
		dir := t.TempDir()
		o := Options{TLS: c.settings, Now: func() time.Time { return time.Now().Add(c.after) }}
		if c.cert != nil {
			o.TLS.CertFile = testcert.Write(t, filepath.Join(dir, "C"), c.cert)
		}
		if c.key != nil {
			o.TLS.KeyFile = testcert.Write(t, filepath.Join(dir, "K"), c.key)
		}
		for name, content := range c.beside {
			testcert.Write(t, filepath.Join(dir, "C."+name), content)
		}
		before, _ := os.ReadDir(dir)
		var got []string
		for _, f := range Inspect(o, c.names...) {
			got = append(got, fmt.Sprint(int(f.Grade), " ", strings.ReplaceAll(f.Text, dir+"/", "")))
		}
		if after, _ := os.ReadDir(dir); len(before) != len(after) {
			t.Errorf("%s: files were made", c.name)
		}
		matches := len(got) == len(c.want)
		for i := range min(len(got), len(c.want)) {
			matches = matches && strings.HasPrefix(got[i], c.want[i])
		}
		if !matches {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// A private key that everybody can read is named; a certificate beside its key may be read.
func TestInspectModes(t *testing.T) {
	dir := t.TempDir()
	pair := testcert.CA(t, "Test CA").Issue(t, testcert.Spec{Name: "a.example.com", Age: -30 * 24 * time.Hour})
	cert := testcert.Write(t, filepath.Join(dir, "C"), pair.CertPEM())
	key := testcert.Write(t, filepath.Join(dir, "K"), pair.KeyPEM(t))
	for file, want := range map[string]int{cert: 1, key: 2} {
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		found := Inspect(Options{TLS: config.TLS{CertFile: cert, KeyFile: key}})
		open := key + " holds a private key and can be read by everybody: chmod 600 " + key
		if len(found) != want || (found[0] == Finding{GradeWarning, open}) != (want == 2) {
			t.Errorf("%s is open: %v", file, found)
		}
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
