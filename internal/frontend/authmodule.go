package frontend

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mailproxy/authlib"
	"mailproxy/internal/config"
)

// authClient asks the auth daemon; when there is none it starts one for each question.
func (s *Session) authClient(environ []string, stderr *os.File) *authlib.Client {
	c := &authlib.Client{
		Socket: s.Config.AuthSocket, Users: authUsers(s.Config),
		ConnectTimeout: s.Config.AuthConnect, WriteTimeout: s.Config.AuthWrite, ReadTimeout: s.Config.AuthRead,
	}
	c.OneShot = func(ctx context.Context) (net.Conn, error) {
		program := authProgram(s.Config)
		if program == "" {
			return nil, authlib.ErrNoProgram
		}
		starter := &authlib.Starter{Program: program, Environ: environ, Stderr: stderr}
		if s.Config.AuthFolder != "" {
			starter.Args = []string{"-config", s.Config.AuthFolder}
		}
		return starter.Start(ctx)
	}
	return c
}

// authProgram is AUTHDAEMON_PROGRAM, or the authdaemond that is installed beside this program; empty when there is none.
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
