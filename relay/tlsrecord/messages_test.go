package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"testing"
)

// TestMessages: what a peer may send besides data in TLS 1.3.
func TestMessages(t *testing.T) {
	ticket := append([]byte{4, 0, 0, 200}, make([]byte, 200)...)
	for _, tc := range []struct {
		name  string
		kind  byte
		parts [][]byte
		err   error
		asked bool
	}{
		{"ticket", typeHandshake, [][]byte{ticket}, nil, false},
		{"ticket in two records", typeHandshake, [][]byte{ticket[:50], ticket[50:]}, nil, false},
		{"two tickets", typeHandshake, [][]byte{append(bytes.Clone(ticket), ticket...)}, nil, false},
		{"key update", typeHandshake, [][]byte{{24, 0, 0, 1, 0}}, nil, false},
		{"key update asked", typeHandshake, [][]byte{{24, 0, 0, 1, 1}}, nil, true},
		{"key update, bad", typeHandshake, [][]byte{{24, 0, 0, 1, 2}}, ErrRecord, false},
		{"key update not last", typeHandshake, [][]byte{{24, 0, 0, 1, 0, 4, 0, 0, 0}}, ErrRecord, false},
		{"cut", typeHandshake, [][]byte{{24, 0}}, ErrRecord, false},
		{"certificate request", typeHandshake, [][]byte{{13, 0, 0, 0}}, ErrRecord, false},
		{"warning", typeAlert, [][]byte{{1, 90}}, nil, false},
		{"fatal alert", typeAlert, [][]byte{{2, 40}}, ErrAlert, false},
		{"alert cut", typeAlert, [][]byte{{2}}, ErrRecord, false},
		{"empty record", typeData, [][]byte{{}}, nil, false},
		{"unknown type", 24, [][]byte{{1}}, ErrRecord, false},
	} {
		a, b := twins(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
		var err error
		for _, p := range tc.parts {
			raw, serr := a.seal(nil, tc.kind, p)
			if serr != nil {
				t.Fatal(serr)
			}
			var data []byte
			if data, _, err = b.Open(raw); len(data) > 0 {
				t.Errorf("%s: data %q", tc.name, data)
			}
		}
		if !errors.Is(err, tc.err) || b.Asked() != tc.asked {
			t.Errorf("%s: %v, asked %v", tc.name, err, b.Asked())
		}
	}
}

// TestTicketForServer: only servers send NewSessionTicket.
func TestTicketForServer(t *testing.T) {
	a, b := twins(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
	raw, err := b.seal(nil, typeHandshake, []byte{4, 0, 0, 1, 0})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = a.Open(raw); !errors.Is(err, ErrRecord) || AlertFor(err) != tlsUnexpectedMessage {
		t.Errorf("a server takes a ticket: %v", err)
	}
}

// TestRecordsWithoutData: 16 in a row, of any kind, are taken, and the 17th ends the connection; data
// begins a new row.
func TestRecordsWithoutData(t *testing.T) {
	for _, tc := range []struct {
		name    string
		version uint16
		kind    byte
		p       []byte
	}{
		{"key updates", tls.VersionTLS13, typeHandshake, []byte{24, 0, 0, 1, 1}},
		{"tickets", tls.VersionTLS13, typeHandshake, []byte{4, 0, 0, 1, 0}},
		{"empty records", tls.VersionTLS13, typeData, nil},
		{"warnings", tls.VersionTLS13, typeAlert, []byte{1, 90}},
		{"empty records, TLS 1.2", tls.VersionTLS12, typeData, nil},
		{"warnings, TLS 1.2", tls.VersionTLS12, typeAlert, []byte{1, 100}},
		{"hello requests, TLS 1.2", tls.VersionTLS12, typeHandshake, []byte{0, 0, 0, 0}},
	} {
		id := tls.TLS_AES_128_GCM_SHA256
		if tc.version == tls.VersionTLS12 {
			id = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
		}
		a, b := twins(tc.version, id)
		open := func(kind byte, p []byte) error {
			raw, err := a.seal(nil, kind, p)
			if err != nil {
				t.Fatal(err)
			}
			if kind == typeHandshake && p[0] == 24 {
				if err := a.next(&a.out); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err = b.Open(raw)
			return err
		}
		for range 3 {
			for i := range maxEmpty {
				if err := open(tc.kind, tc.p); err != nil {
					t.Fatalf("%s: number %d: %v", tc.name, i+1, err)
				}
			}
			if err := open(typeData, []byte("x")); err != nil {
				t.Fatalf("%s: data: %v", tc.name, err)
			}
		}
		for range maxEmpty {
			_ = open(tc.kind, tc.p)
		}
		if err := open(tc.kind, tc.p); !errors.Is(err, ErrRecord) || AlertFor(err) != tlsUnexpectedMessage {
			t.Errorf("%s: number %d: %v", tc.name, maxEmpty+1, err)
		}
	}
}

// TestAlerts: the peer of a connection that its records end is told why.
func TestAlerts(t *testing.T) {
	for _, v := range suites {
		a, b := twins(v[0], v[1])
		forged, _ := a.Seal(nil, []byte("x"))
		forged[len(forged)-1] ^= 1
		_, _, err := b.Open(forged)
		if AlertFor(err) != tlsBadRecordMAC {
			t.Errorf("%x: a forged record: alert %d for %v", v, AlertFor(err), err)
		}
		raw, serr := b.SealAlert(nil, AlertFor(err))
		if serr != nil {
			t.Fatal(serr)
		}
		if _, _, err := a.Open(raw); !errors.Is(err, ErrAlert) || !errors.Is(err, tlsBadRecordMAC) {
			t.Errorf("%x: the peer reads %v", v, err)
		}
	}
	if got := AlertFor(io.EOF); got != tlsInternalError {
		t.Errorf("any other error: alert %d", got)
	}
}
