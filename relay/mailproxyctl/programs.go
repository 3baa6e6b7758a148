package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
)

// source is an admin socket, and what the program behind it is called.
type source struct{ name, socket string }

// defaultUsers are those that the package's services run as.
const defaultUsers = relay.DefaultUser + ",mailproxy-login"

// defaultSources are the sockets of the package's services.
func defaultSources() []source {
	return []source{
		{"relayd", relay.DefaultSocket},
		{"imapd-proxy", "/run/mailproxy/imapd-proxy/admin"},
		{"pop3d-proxy", "/run/mailproxy/pop3d-proxy/admin"},
	}
}

// parseSource reads "NAME=PATH", or a path in a directory of the program's name.
func parseSource(value string) (source, error) {
	name, path, ok := strings.Cut(value, "=")
	if !ok || strings.Contains(name, "/") {
		name, path = filepath.Base(filepath.Dir(value)), value
	}
	if name == "" || path == "" {
		return source{}, errors.New("not [NAME=]PATH")
	}
	return source{name, path}, nil
}

// program is what became of a question to one program. Its texts can be shown.
type program struct {
	Program string `json:"program"`
	Socket  string `json:"socket"`
	// Answered: false without Error where nobody listens.
	Answered bool   `json:"answered"`
	Error    string `json:"error,omitempty"`

	text string // the answer
}

// errNobody says that there is no program to ask.
var errNobody = errors.New("no relayd and no resident front end answers")

// ask asks all programs at once. A socket that is missing, or without a listening process, is not an error if
// others answer.
func (c *config) ask(ctx context.Context, m *handoff.Message) ([]program, error) {
	programs := make([]program, len(c.sources))
	var asking sync.WaitGroup
	for i, s := range c.sources {
		asking.Go(func() { programs[i] = c.askOne(ctx, s, m) })
	}
	asking.Wait()
	var tried []string
	for _, p := range programs {
		if p.Answered || p.Error != "" {
			return programs, nil
		}
		tried = append(tried, p.Socket)
	}
	return programs, fmt.Errorf("%w at %s", errNobody, strings.Join(tried, ", "))
}

func (c *config) askOne(ctx context.Context, s source, m *handoff.Message) program {
	p := program{Program: shown(s.name), Socket: shown(s.socket)}
	var out bytes.Buffer
	err := handoff.Ask(ctx, s.socket, c.users, m, &out)
	switch {
	case err == nil:
		p.Answered, p.text = true, out.String()
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ECONNREFUSED):
	default:
		p.Error = shown(err.Error())
	}
	return p
}

// reject takes back the answer of a program that makes no sense.
func (p *program) reject(err error) {
	p.Answered, p.Error = false, shown(err.Error())
}

// anybody returns an error when nobody has given an answer that makes sense; the programs' own errors say
// why.
func anybody(programs []program) error {
	for _, p := range programs {
		if p.Answered {
			return nil
		}
	}
	return errNobody
}
