package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mailproxy/authlib/password"
)

// writeUserdb writes the accounts as Courier's userdb: one a line, readable by the owner only.
func writeUserdb(path string, accounts []user) error {
	var text bytes.Buffer
	for _, u := range accounts {
		hash, err := password.Hash("{SSHA}", u.password)
		if err != nil {
			return err
		}
		// uid, gid and home are for accounts that are here; userdb asks for them all the same.
		fmt.Fprintf(&text, "%s\tuid=65534|gid=65534|home=/nonexistent|systempw=%s|options=mailhost=%s\n", u.name,
			hash, u.mailhost)
	}
	return os.WriteFile(path, text.Bytes(), 0o600)
}

// daemon is a running authdaemond.
type daemon struct {
	socket string
	done   chan struct{} // closed when it has ended
	cmd    *exec.Cmd
}

// startAuthdaemond starts it with the directory's files, and returns when it answers.
func startAuthdaemond(ctx context.Context, bin, directory string, out *output) (*daemon, error) {
	rc := "authmodulelist=\"authuserdb\"\nauthdaemonvar=" + directory + "\n"
	if err := os.WriteFile(filepath.Join(directory, "authdaemonrc"), []byte(rc), 0o600); err != nil {
		return nil, err
	}
	// Started by root it stays root: the directory is ours alone.
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "authdaemond"), "-config", directory, "-user", "")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = out.log("authdaemond"), out.log("authdaemond")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start authdaemond: %w", err)
	}
	d := &daemon{socket: filepath.Join(directory, "socket"), done: make(chan struct{}), cmd: cmd}
	go func() {
		cmd.Wait()
		close(d.done)
	}()
	for range 3000 {
		if conn, err := net.Dial("unix", d.socket); err == nil {
			conn.Close()
			return d, nil
		}
		select {
		case <-d.done:
			return nil, errors.New("authdaemond ended at once: " + strings.TrimSpace(cmd.ProcessState.String()))
		case <-time.After(10 * time.Millisecond):
		}
	}
	d.stop()
	return nil, errors.New("authdaemond does not listen")
}

// stop ends it.
func (d *daemon) stop() {
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(5 * time.Second):
		d.cmd.Process.Kill()
	}
}
