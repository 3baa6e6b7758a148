package frontend

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailproxy/internal/inetd"
)

// A program without TLS becomes the one that has it, on the same connection: at the start, or after the dialogue has
// answered STARTTLS. There is nothing else to hand on then than what the launcher gave, who the client is, and this:

// Resumption is the dialogue that a successor goes on with after the handshake: it does not greet the client again.
type Resumption struct {
	// Received and Sent count the bytes of the dialogue so far.
	Received, Sent int64
}

// resumeVariable carries a Resumption and the session's start to the successor.
const resumeVariable = "MAILPROXY_STARTTLS"

// becomeForTLS becomes the program with TLS. soFar is nil before the greeting. It returns only when that failed.
func (s *Session) becomeForTLS(soFar *Resumption) error {
	if s.successor == nil {
		return errNoTLS
	}
	s.left() // it counts itself
	changes := map[string]string{
		"TCPREMOTEIP": s.Peer.RemoteIP, "TCPREMOTEPORT": s.Peer.RemotePort,
		"TCPLOCALIP": s.Peer.LocalIP, "TCPLOCALPORT": s.Peer.LocalPort,
		"HAPROXY":   "0",  // its header has been read
		"RELAY_TLS": "NO", // relayd has been asked
	}
	if soFar != nil {
		changes[resumeVariable] = fmt.Sprintf("%d %d %d", s.Started.UnixNano(), soFar.Received, soFar.Sent)
	}
	return fmt.Errorf("%w: %w", errNoTLS, s.successor(changes))
}

// nobodyEncrypts says why no handshake can be made, and nil when there is a program that makes them.
func (s *Session) nobodyEncrypts() error {
	if s.Encrypter != nil {
		return nil
	}
	if s.successorPath == "" {
		return errNoTLS
	}
	err := unix.Access(s.successorPath, unix.X_OK)
	if err == nil || s.relaydEncrypts() {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", errNoTLS, s.successorPath, err)
}

// Resumed returns the dialogue that a predecessor has begun; ok is false when there was none.
func (s *Session) Resumed() (soFar Resumption, ok bool) {
	if s.resumed == nil {
		return Resumption{}, false
	}
	return *s.resumed, true
}

// resume takes what a predecessor has handed on out of the settings.
func (s *Session) resume() error {
	text, ok := s.Settings.Lookup(resumeVariable)
	if !ok {
		return nil
	}
	s.Settings = maps.Clone(s.Settings)
	delete(s.Settings, resumeVariable)
	var numbers [3]int64
	fields := strings.Fields(text)
	for i := range numbers {
		var err error
		if len(fields) == len(numbers) {
			numbers[i], err = strconv.ParseInt(fields[i], 10, 64)
		}
		if err != nil || len(fields) != len(numbers) || numbers[i] < 0 {
			return fmt.Errorf("%s=%q: must be three numbers", resumeVariable, text)
		}
	}
	s.Started, s.resumed = time.Unix(0, numbers[0]), &Resumption{numbers[1], numbers[2]}
	return nil
}

// beside returns the path of a program that is installed beside this one.
func beside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(self), name), nil
}

// become replaces this process by its successor at path, with the launcher's arguments and environment.
func become(launch *inetd.Launch, path string, args, environ []string, changes map[string]string) error {
	settings := inetd.NewSettings(environ)
	maps.Copy(settings, changes)
	return launch.Become(path, args, settings.Environ())
}
