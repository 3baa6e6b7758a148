package frontend

import (
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailproxy/authlib"
	"mailproxy/internal/launch"
	"mailproxy/internal/login"
	"mailproxy/internal/tlsconf"
	"mailproxy/tests/testcert"
)

func certFile(t *testing.T) string {
	return testcert.Write(t, filepath.Join(t.TempDir(), "cert.pem"), testcert.CA(t, "x").PEM(t))
}

// Who terminates TLS: nobody, couriertls, a wrapper on a socket pair, or we.
func TestBeginTLS(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings []string
		unix     bool
		shake    bool
		tls      bool
	}{
		{"clear text", nil, false, false, false},
		{"couriertls", []string{"IMAP_TLS=1", "TLS_CONNECTED_PROTOCOL=TLS1.3,256bits,X"}, false, false, true},
		{"stunnel", []string{"IMAP_TLS=1"}, true, false, true},
		{"our own", []string{"IMAP_TLS=1", "TLS_CERTFILE=" + certFile(t), "TLS_SUBJECT_CN=forged",
			"TLS_EXTERNAL=cn"}, false, true, true},
		{"POP3_TLS does not count", []string{"POP3_TLS=1"}, false, false, false},
	} {
		w := newWorld(t, imap, c.settings...)
		if c.unix {
			ours, theirs, err := launch.Pair()
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			w.Client = ours
		}
		if c.shake {
			go tls.Client(w.client, &tls.Config{InsecureSkipVerify: true}).Handshake()
		}
		if err := w.beginTLS(t.Context()); err != nil || w.TLS != c.tls || doesTLS(w.Client) != c.shake {
			t.Errorf("%s: %v, TLS %v, by us %v", c.name, err, w.TLS, doesTLS(w.Client))
		}
		if c.shake && (!w.Peer.TLS.Encrypted() || w.ExternalName() != "") {
			t.Errorf("%s: %v, external %q", c.name, w.Peer.TLS, w.ExternalName())
		}
		w.wantLog(t)
	}
}

// STARTTLS changes the settings as if the session had been encrypted from the start, and is not offered
// again.
func TestStartTLS(t *testing.T) {
	w := newWorld(t, imap, "IMAPDSTARTTLS=YES", "IMAP_TLS_REQUIRED=1", "TLS_CERTFILE="+certFile(t))
	if !w.OffersStartTLS() || !w.NeedsTLS() {
		t.Errorf("offered %v, needed %v", w.OffersStartTLS(), w.NeedsTLS())
	}
	go tls.Client(w.client, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if err := w.StartTLS(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.OffersStartTLS() || w.NeedsTLS() || !w.TLS {
		t.Errorf("offered %v, needed %v, TLS %v", w.OffersStartTLS(), w.NeedsTLS(), w.TLS)
	}
	environ := w.localEnviron(&authlib.Account{}, nil)
	for _, want := range []string{"IMAP_TLS=1", "IMAP_STARTTLS=NO", "IMAP_TLS_REQUIRED=0"} {
		if !slices.Contains(environ, want) {
			t.Errorf("the local server is not told %s", want)
		}
	}
}

func TestStartTLSNotOffered(t *testing.T) {
	w := newWorld(t, pop3, "POP3_STARTTLS=YES", "TLS_CERTFILE=/nonexistent/cert.pem")
	for range 2 { // the second time it is not logged again
		if w.OffersStartTLS() {
			t.Error("offered without a certificate")
		}
	}
	w.wantLog(t, "ERR: STLS is not offered: TLS_CERTFILE: open /nonexistent/cert.pem: no such file or directory")
	// Not asked for: nothing is read, nothing is said.
	w = newWorld(t, imap, "TLS_CERTFILE=/nonexistent/cert.pem")
	if w.OffersStartTLS() {
		t.Error("offered")
	}
	w.wantLog(t)
}

// A process of many connections says once that STARTTLS cannot be offered, not at each of them.
func TestStartTLSNotOfferedAgain(t *testing.T) {
	w := newWorld(t, imap, "IMAPDSTARTTLS=YES", "TLS_CERTFILE=/nonexistent/cert.pem")
	w.server.TLS = FileTLS{Settings: w.Config.TLS, Memory: &tlsconf.Memory{}}
	for range 3 {
		w.startTLS = 0 // as the next connection finds it
		if w.OffersStartTLS() {
			t.Error("offered without a certificate")
		}
	}
	w.wantLog(t, "ERR: STARTTLS is not offered: "+
		"TLS_CERTFILE: open /nonexistent/cert.pem: no such file or directory")
}

// A key that is not the certificate's is the installation's fault, and is said as such.
func TestTLSWrongKey(t *testing.T) {
	ca := testcert.CA(t, "x")
	one, other := ca.Issue(t, testcert.Spec{Name: "a"}), ca.Issue(t, testcert.Spec{Name: "a"})
	pair := testcert.Write(t, filepath.Join(t.TempDir(), "pair.pem"), append(one.CertPEM(), other.KeyPEM(t)...))
	w := newWorld(t, imap, "IMAP_TLS=1", "TLS_CERTFILE="+pair)
	go tls.Client(w.client, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if err := w.beginTLS(t.Context()); !errors.Is(err, login.ErrEnd) {
		t.Error(err)
	}
	w.wantLog(t, "ERR: TLS FAILED, ip=[::ffff:192.0.2.7], port=[5000]: "+pair+
		": the private key does not belong to the certificate")
}

func TestTLSFailureLines(t *testing.T) {
	for want, play := range map[string]func(c net.Conn){
		"tls: first record does not look like a TLS handshake": func(c net.Conn) {
			c.Write([]byte("a LOGIN x y\r\n"))
		},
		"connection closed": func(c net.Conn) { c.Close() },
		"timeout":           func(c net.Conn) {},
		"alert from the peer: tls: unknown certificate authority": func(c net.Conn) {
			tls.Client(c, &tls.Config{ServerName: "x", MaxVersion: tls.VersionTLS12}).Handshake()
		},
	} {
		limit := "TLS_HANDSHAKE_TIMEOUT=30"
		if want == "timeout" {
			limit = "TLS_HANDSHAKE_TIMEOUT=1"
		}
		w := newWorld(t, imap, "IMAP_TLS=1", "TLS_CERTFILE="+certFile(t), limit)
		go play(w.client)
		if err := w.beginTLS(t.Context()); !errors.Is(err, login.ErrEnd) {
			t.Errorf("%s: %v", want, err)
		}
		got := strings.Replace(w.log.String(), "bad certificate", "unknown certificate authority", 1)
		if got != "INFO: TLS FAILED, ip=[::ffff:192.0.2.7], port=[5000]: "+want+"\n" {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
