package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// build builds the programs that the demonstration needs.
func build(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin+"/", "mailproxy/imapd-proxy",
		"mailproxy/authlib/authdaemond")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// The demonstration as make demo runs it with DEMO_ONCE=1.
func TestDemo(t *testing.T) {
	bin := build(t)
	var stdout, stderr strings.Builder
	start := time.Now()
	if status := run(context.Background(), []string{"-bin", bin}, true, &stdout, &stderr); status != 0 {
		t.Fatalf("status %d\n%s%s", status, stdout.String(), stderr.String())
	}
	if d := time.Since(start); d > 2*time.Minute {
		t.Errorf("took %s", d)
	}
	for _, want := range []string{
		"C: a1 LOGIN \"ann@example.com\"", "S: Subject: Welcome to server one, Ann",
		"C: a1 LOGIN \"bob@example.com\"", "S: Subject: Welcome to server two, Bob",
		"imapd-proxy: INFO: LOGIN, user=ann@example.com, ip=[127.0.0.1]",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is not in the output\n%s", want, stdout.String())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "mailproxy-demo*", "socket")); len(left) > 0 {
		t.Logf("other demonstrations are running: %q", left)
	}
}

// It stays up until it is told to end.
func TestDemoStays(t *testing.T) {
	bin := build(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	said := make(chan string, 100)
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"-bin", bin}, false, writerFunc(said), writerFunc(said)) }()
	timeout := time.After(2 * time.Minute)
	for {
		select {
		case line := <-said:
			if strings.Contains(line, "Connect by hand:  nc -C 127.0.0.1 ") {
				cancel()
			}
		case status := <-done:
			if status != 0 || ctx.Err() == nil {
				t.Errorf("status %d before it was told to end: %v", status, ctx.Err() == nil)
			}
			return
		case <-timeout:
			t.Fatal("it does not end")
		}
	}
}

// writerFunc passes what is written on.
type writerFunc chan<- string

func (w writerFunc) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// A user who lands on the wrong server makes it fail: here the proxy's place is taken by the other user's
// server.
func TestWrongServer(t *testing.T) {
	accounts := users()
	for i := range accounts {
		stop, err := startMailhost(&accounts[i], "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	var stdout strings.Builder
	if err := show(context.Background(), accounts[0].mailhost, accounts[0], &output{w: &stdout}); err != nil {
		t.Fatalf("the right server: %v", err)
	}
	// What is looked for never comes, and show would wait for a minute.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := show(ctx, accounts[1].mailhost, accounts[0], &output{w: &stdout}); err == nil {
		t.Errorf("no error:\n%s", stdout.String())
	}
	// Nor is it enough that a login succeeds.
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	wrong := accounts[0]
	wrong.subject = accounts[1].subject
	if err := show(ctx, accounts[0].mailhost, wrong, &output{w: &stdout}); err == nil {
		t.Errorf("no error:\n%s", stdout.String())
	}
}
