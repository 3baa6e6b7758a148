package authd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/tests/harness"
)

// login asks for ann with her password and returns what came of it.
func login(client *authlib.Client) string {
	a, err := client.Authenticate(context.Background(),
		&authlib.AuthRequest{Service: "imap", Type: authlib.AuthLogin, User: "ann", Password: "secret"})
	switch {
	case errors.Is(err, authlib.ErrRefused):
		return "refused"
	case err != nil:
		return "temporary: " + err.Error()
	}
	return a.Address + " " + string(a.Options)
}

func ann(t *testing.T, modules string, settings harness.Env) {
	harness.Userdb(t, harness.Account{Name: "ann", Password: "secret"})
	harness.Authdaemonrc(t, modules, settings)
}

// TestOneShot: nobody listens; the client starts authdaemond for the one request, and no process is left.
func TestOneShot(t *testing.T) {
	ann(t, "authuserdb", nil)
	os.Remove(harness.CourierAuthSocket)
	starter := &authlib.Starter{Program: harness.Bin(t, "authdaemond"), Stderr: os.Stderr}
	client := &authlib.Client{OneShot: starter.Start}
	for range 3 {
		if got := login(client); got != "ann " {
			t.Error(got)
		}
	}
	harness.NoneLeft(t, "authdaemond")
	// A program that hangs ends with the request.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	hang := filepath.Join(harness.Dir(t), "hang")
	harness.WriteFile(t, hang, "#!/bin/sh\nexec sleep 60\n", 0o755)
	client.OneShot = (&authlib.Starter{Program: hang}).Start
	start := time.Now()
	if _, err := client.Lookup(ctx, &authlib.LookupRequest{Service: "imap", User: "ann"}); err == nil ||
		time.Since(start) > harness.Patience {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	harness.NoneLeft(t, "sleep")
}

// TestSilentClients: 1,000 connected and silent clients stop nobody (Courier stops at 40).
func TestSilentClients(t *testing.T) {
	ann(t, "authuserdb", nil)
	daemon(t, harness.Bin(t, "authdaemond"))
	client := &authlib.Client{}
	var last net.Conn
	for range 1000 {
		c, err := net.Dial("unix", harness.CourierAuthSocket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		last = c
	}
	for i := range 100 {
		if got := login(client); got != "ann " {
			t.Fatal(got)
		}
		if i > 0 {
			continue
		}
		_ = last.SetReadDeadline(time.Unix(1, 0))
		if _, err := last.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the silent ones are not there any more: %v", err)
		}
	}
}

// TestSignals: SIGHUP reads authdaemonrc again, a broken one changes nothing, SIGTERM ends and removes the
// socket.
func TestSignals(t *testing.T) {
	ann(t, "authuserdb", nil)
	p := daemon(t, harness.Bin(t, "authdaemond"))
	client := &authlib.Client{}
	if got := login(client); got != "ann " {
		t.Error(got)
	}
	reload := func(want string) {
		t.Helper()
		p.Signal(t, syscall.SIGHUP)
		p.Log.Wait(t, want)
	}
	harness.Authdaemonrc(t, "authuserdb", harness.Env{"DEFAULTOPTIONS": "new=1"})
	reload(`INFO: read again: modules=\["authuserdb"\], daemons=5`)
	if got := login(client); got != "ann new=1" {
		t.Error(got)
	}
	harness.Authdaemonrc(t, "authuserdb", harness.Env{"daemons": "many"})
	reload("ERR: the settings stay as they were: " +
		`/etc/courier/authdaemonrc:[0-9]+: daemons: "many" is not a number from 1 to 1000`)
	if got := login(client); got != "ann new=1" {
		t.Error(got)
	}
	// The module that cannot serve is named, and only logins that come to it fail for the time being.
	harness.Authdaemonrc(t, "authuserdb authfoo", nil)
	reload(`ERR: authfoo: no such module`)
	if got := login(client); got != "ann " {
		t.Error(got)
	}
	if _, err := client.Lookup(context.Background(),
		&authlib.LookupRequest{Service: "imap", User: "nobody"}); err == nil ||
		errors.Is(err, authlib.ErrRefused) {
		t.Errorf("got %v", err)
	}
	p.Signal(t, syscall.SIGTERM)
	if status := p.Wait(t); status != 0 {
		t.Errorf("status %d", status)
	}
	p.Log.WaitN(t, 1, `^INFO: authdaemond \S+: modules=\["authuserdb"\], daemons=5, socket `)
	p.Log.WaitN(t, 1, "^INFO: authdaemond ends: terminated signal received$")
	if _, err := os.Stat(harness.CourierAuthSocket); err == nil {
		t.Error("the socket is still there")
	}
	if got := login(client); !strings.Contains(got, "is authdaemond running?") {
		t.Error(got)
	}
}

// TestSecondDaemon: one socket, one daemon; a socket left behind by a killed one is replaced.
func TestSecondDaemon(t *testing.T) {
	ann(t, "authuserdb", nil)
	p := daemon(t, harness.Bin(t, "authdaemond"))
	out, err := exec.Command(harness.Bin(t, "authdaemond")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another process listens there") {
		t.Errorf("second daemon: %v %s", err, out)
	}
	if err := p.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait(t)
	if _, err := os.Stat(harness.CourierAuthSocket); err != nil {
		t.Fatal("the killed daemon's socket is gone: the test shows nothing")
	}
	p = harness.Start(t, exec.Command(harness.Bin(t, "authdaemond")))
	p.Log.Wait(t, "INFO: authdaemond .*socket /run/courier/authdaemon/socket")
	if got := login(&authlib.Client{}); got != "ann " {
		t.Error(got)
	}
}

// TestSystemd: socket activation and notification, without a running systemd.
func TestSystemd(t *testing.T) {
	ann(t, "authuserdb", nil)
	dir := harness.Dir(t)
	socket, notify := filepath.Join(dir, "auth"), filepath.Join(dir, "notify")
	states, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer states.Close()
	if err := os.Chmod(notify, 0o777); err != nil {
		t.Fatal(err)
	}
	p := harness.Start(
		t,
		exec.Command("systemd-socket-activate", "-l", socket, "-E", "NOTIFY_SOCKET="+notify,
			harness.Bin(t, "authdaemond")),
	)
	client := &authlib.Client{Socket: socket}
	if !harness.Eventually(func() bool { return login(client) == "ann " }) {
		t.Fatalf("got %s; log:\n%s", login(client), p.Log)
	}
	state := func() string {
		buf := make([]byte, 4096)
		if err := states.SetReadDeadline(time.Now().Add(harness.Patience)); err != nil {
			t.Fatal(err)
		}
		n, err := states.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := state(); got != "READY=1" {
		t.Errorf("notified %q", got)
	}
	p.Signal(t, syscall.SIGHUP)
	if got := state(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("notified %q", got)
	}
	if got := state(); got != "READY=1" {
		t.Errorf("notified %q", got)
	}
	p.Signal(t, syscall.SIGTERM)
	if got := state(); got != "STOPPING=1" {
		t.Errorf("notified %q", got)
	}
	if status := p.Wait(t); status != 0 {
		t.Errorf("status %d", status)
	}
}

// TestRights: root is given up when the files let it, and the daemon can still reload and answer; userdb of
// root keeps it root.
func TestRights(t *testing.T) {
	uid := func(p *harness.Process) string {
		text := harness.ReadFile(t, fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
		_, rest, _ := strings.Cut(text, "\nUid:\t")
		line, _, _ := strings.Cut(rest, "\n")
		return line
	}
	ann(t, "authuserdb", nil)
	p := daemon(t, harness.Bin(t, "authdaemond"))
	p.Log.Wait(t, "INFO: stays root: user courier cannot read /etc/courier/userdb")
	if got := uid(p); got != "0\t0\t0\t0" {
		t.Errorf("uid %s", got)
	}
	p.Stop()
	harness.Run(t, "", "chown", "courier", "/etc/courier/userdb", "/etc/courier/userdb.dat",
		"/etc/courier/userdbshadow.dat")
	harness.Run(t, "", "chgrp", "courier", "/etc/courier/authdaemonrc")
	p = daemon(t, harness.Bin(t, "authdaemond"))
	// It listens before it gives up root.
	if !harness.Eventually(func() bool { return !strings.Contains("\t"+uid(p)+"\t", "\t0\t") }) {
		t.Errorf("uid %s", uid(p))
	}
	client := &authlib.Client{}
	if got := login(client); got != "ann " {
		t.Error(got)
	}
	p.Signal(t, syscall.SIGHUP)
	p.Log.Wait(t, "INFO: read again")
	if got := login(client); got != "ann " {
		t.Error(got)
	}
	// Root's tools write a file that the daemon cannot read: the accounts stay, and the log says so.
	harness.Userdb(t, harness.Account{Name: "ann", Password: "changed"})
	if !harness.Eventually(
		func() bool { login(client); return len(p.Log.Find("the accounts stay as they were")) > 0 }) {
		t.Errorf("log:\n%s", p.Log)
	}
	if got := login(client); got != "ann " {
		t.Error(got)
	}
}
