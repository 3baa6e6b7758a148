package authd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// TestNoDescriptors: a time without file descriptors is a pause for logins and for the metrics, and the end
// of neither.
func TestNoDescriptors(t *testing.T) {
	const metrics = "127.0.20.1:9143"
	ann(t, "authuserdb", harness.Env{"AUTH_METRICS": metrics})
	p := daemon(t, harness.Bin(t, "authdaemond"))
	client := &authlib.Client{ReadTimeout: harness.Patience}
	scrape := func(limit time.Duration) string {
		c := &http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := c.Get("http://" + metrics + "/metrics")
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return string(text)
	}
	const counter = "authdaemond_requests_total"
	// The daemon answers when all its sockets are there.
	if got := login(client); got != "ann " {
		t.Fatalf("before: %s", got)
	}
	if got := scrape(harness.Patience); !strings.Contains(got, counter) {
		t.Fatalf("before: %s", got)
	}
	limit := func(n uint64) {
		t.Helper()
		if err := unix.Prlimit(p.Cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: 1024},
			nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		limit(3) // those that are open stay open, and there are no new ones
		var clients []net.Conn
		for _, address := range [][2]string{{"unix", harness.CourierAuthSocket}, {"tcp", metrics}} {
			c, err := net.DialTimeout(address[0], address[1], harness.Patience)
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
		}
		p.Log.Wait(t, `ERR: accept: too many open files`)
		p.Log.Wait(t, `ERR: metrics: accept .*too many open files`)
		if got := scrape(time.Second); !strings.Contains(got, "Timeout") && !strings.Contains(got, "deadline") {
			t.Errorf("a scrape without descriptors: %s", got)
		}
		limit(1024)
		if got := login(client); got != "ann " {
			t.Errorf("login afterwards: %s", got)
		}
		if got := scrape(harness.Patience); !strings.Contains(got, counter+`{request="auth",result="ok"}`) {
			t.Errorf("scrape afterwards: %s", got)
		}
		for _, c := range clients {
			c.Close()
		}
	}
	if n := len(p.Log.Find(`too many open files`)); n > 4 {
		t.Errorf("%d lines in a few seconds", n)
	}
}

// TestLogReader: logins go on when the reader of the log ends, or reads no more.
func TestLogReader(t *testing.T) {
	ann(t, "authuserdb", harness.Env{"DEBUG_LOGIN": "1"})
	for _, gone := range []bool{true, false} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		if _, err := unix.FcntlInt(writer.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(harness.Bin(t, "authdaemond"))
		cmd.Stderr = writer
		p := startDaemon(t, cmd)
		writer.Close()
		if gone {
			reader.Close()
		}
		client := &authlib.Client{}
		for range 30 { // several lines each
			if got := login(client); got != "ann " {
				t.Fatalf("reader gone %v: %s", gone, got)
			}
		}
		p.Signal(t, syscall.SIGTERM)
		if status := p.Wait(t); status != 0 {
			t.Errorf("reader gone %v: status %d", gone, status)
		}
	}
}

// TestStopWhileWaiting: SIGTERM ends the daemon within five seconds, with requests under way that no database
// answers.
func TestStopWhileWaiting(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.20.2:389")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	text := `##NAME: MARKER:0
LDAP_URI ldap://127.0.20.2
LDAP_BASEDN dc=example
LDAP_TIMEOUT 60
LDAP_CLEARPW x
LDAP_INITBIND 1
LDAP_BINDDN cn=x
`
	harness.Authdaemonrc(t, "authldap", nil)
	harness.WriteFile(t, "/etc/courier/authldaprc", text, 0o600)
	harness.Run(t, "", "chown", "root:courier", "/etc/courier/authldaprc")
	harness.Run(t, "", "chmod", "640", "/etc/courier/authldaprc")
	p := daemon(t, harness.Bin(t, "authdaemond"))
	done := make(chan error, 10)
	for i := range cap(done) {
		go func() {
			_, err := (&authlib.Client{}).Lookup(context.Background(),
				&authlib.LookupRequest{Service: "imap", User: fmt.Sprint("user", i)})
			done <- err
		}()
	}
	c, err := mute.Accept() // somebody waits for an answer
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	p.Signal(t, syscall.SIGTERM)
	p.Wait(t)
	if took := time.Since(start); took > harness.Patience {
		t.Errorf("it took %v", took)
	}
	for range cap(done) {
		if err := <-done; err == nil {
			t.Error("an answer of a mute database")
		}
	}
	if _, err := os.Stat(harness.CourierAuthSocket); err == nil {
		t.Error("the socket is still there")
	}
}
