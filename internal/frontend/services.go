package frontend

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
	"mailproxy/internal/config"
	"mailproxy/internal/peercred"
	"mailproxy/relay/handoff"
)

// NewAuth returns the client of the auth module of these settings; when nobody listens, it starts authdaemond
// for each question, with stderr as its log.
func NewAuth(settings *config.Config, stderr *os.File) *authlib.Client {
	c := &authlib.Client{
		Socket: settings.AuthSocket, Users: authUsers(settings),
		ConnectTimeout: settings.AuthConnect, WriteTimeout: settings.AuthWrite, ReadTimeout: settings.AuthRead,
	}
	c.OneShot = func(ctx context.Context) (net.Conn, error) {
		program := authProgram(settings)
		if program == "" {
			return nil, authlib.ErrNoProgram
		}
		starter := &authlib.Starter{Program: program, Environ: settings.Environ(), Stderr: stderr}
		if settings.AuthDirectory != "" {
			starter.Args = []string{"-config", settings.AuthDirectory}
		}
		return starter.Start(ctx)
	}
	return c
}

// NewRelayd returns the client of relayd of these settings.
func NewRelayd(c *config.Config) *handoff.Client {
	return &handoff.Client{
		Socket:  c.RelaySocket,
		Trusted: func(conn *net.UnixConn) error { return peercred.Listener(conn, c.RelaydUsers...) },
	}
}

// authProgram is AUTHDAEMON_PROGRAM, or the authdaemond that is installed beside this program; empty when
// there is none.
func authProgram(c *config.Config) string {
	if c.AuthProgram != "" {
		return c.AuthProgram
	}
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	beside := filepath.Join(filepath.Dir(self), "authdaemond")
	if unix.Access(beside, unix.X_OK) != nil {
		return ""
	}
	return beside
}

// authUsers are who may run the auth module: AUTHDAEMON_USER, else our package's user, and Courier's where
// Courier's own daemon listens.
func authUsers(c *config.Config) []string {
	switch {
	case len(c.AuthUsers) > 0:
		return c.AuthUsers
	case c.AuthSocket == "" || authlib.IsCourierSocket(c.AuthSocket):
		return []string{"mailproxy-auth", "courier"}
	}
	return []string{"mailproxy-auth"}
}
