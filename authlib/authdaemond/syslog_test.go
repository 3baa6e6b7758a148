package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSyslogWriter(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for line, want := range map[string]string{
		"ERR: a: b\n":   "<19>Mar  4 05:06:07 authdaemond[42]: a: b",
		"WARN: a\n":     "<20>Mar  4 05:06:07 authdaemond[42]: a",
		"INFO: a\n":     "<22>Mar  4 05:06:07 authdaemond[42]: a",
		"DEBUG: a\n":    "<23>Mar  4 05:06:07 authdaemond[42]: a",
		"panic: what\n": "<21>Mar  4 05:06:07 authdaemond[42]: panic: what",
	} {
		var got strings.Builder
		if n, err := (&syslogWriter{&got, 42,
			func() time.Time { return now }}).Write([]byte(line)); n != len(line) || err != nil ||
			got.String() != want {
			t.Errorf("%q: %q, %d, %v; want %q", line, got.String(), n, err, want)
		}
	}
}

func TestStandardError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	service, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	(&logger{out: standardError(file, os.Getenv)}).errf("what %d", 1)
	message := make([]byte, 100)
	n, err := service.Read(message)
	if got := string(message[:n]); err != nil || !strings.HasPrefix(got, "<19>") ||
		!strings.HasSuffix(got, "]: what 1") {
		t.Errorf("syslog has %q, %v", got, err)
	}
	if standardError(os.Stderr, func(string) string { return "" }) != os.Stderr {
		t.Error("an ordinary standard error is not used as it is")
	}
}
