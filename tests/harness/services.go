package harness

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Service is one of our own daemons with the socket it listens on.
type Service struct {
	*Process
	Socket string
	Config string // its configuration directory
}

// Authdaemond starts our authdaemond with these modules and further settings for its authdaemonrc. It
// reads the account files in /etc/courier, and listens on a socket of its own, beside Courier's.
func Authdaemond(t testing.TB, modules string, settings Env) *Service {
	t.Helper()
	return authdaemond(t, Bin(t, "authdaemond"), modules, settings)
}

// PlainAuthdaemond starts our authdaemond as it is shipped, for measurements.
func PlainAuthdaemond(t testing.TB, modules string, settings Env) *Service {
	t.Helper()
	return authdaemond(t, PlainBin(t, "authdaemond"), modules, settings)
}

func authdaemond(t testing.TB, program, modules string, settings Env) *Service {
	t.Helper()
	dir := Dir(t)
	s := &Service{Socket: filepath.Join(dir, "run", "socket"), Config: filepath.Join(dir, "etc")}
	if err := os.Mkdir(s.Config, 0o755); err != nil {
		t.Fatal(err)
	}
	// The files may come later; the links show them then.
	for _, name := range []string{"userdb", "userdb.dat", "userdbshadow.dat", "authmysqlrc", "authpgsqlrc",
		"authldaprc"} {
		if err := os.Symlink("/etc/courier/"+name, filepath.Join(s.Config, name)); err != nil {
			t.Fatal(err)
		}
	}
	own := Env{"authdaemonvar": filepath.Join(dir, "run")}
	for name, value := range settings {
		own[name] = value
	}
	writeAuthdaemonrc(t, filepath.Join(s.Config, "authdaemonrc"), modules, own)
	// Front ends that run as root may ask anyway.
	cmd := exec.Command(program, "-config", s.Config, "-allow", ResidentUser)
	cmd.Env = baseEnv()
	s.Process = Start(t, cmd)
	s.ready(t, "answer on its socket", func() bool { return accepts(s.Socket) })
	return s
}

// Relayd starts our relayd with further arguments. It runs as user courier, which is also what front ends
// that courier is installed beside become for a proxied session.
func Relayd(t testing.TB, args ...string) *Service {
	t.Helper()
	return RelaydAt(t, filepath.Join(Dir(t), "relayd"), args...)
}

// RelaydAt is Relayd at this socket, where an earlier one may have been.
func RelaydAt(t testing.TB, socket string, args ...string) *Service {
	t.Helper()
	return relayd(t, Bin(t, "relayd"), socket, args)
}

// PlainRelayd starts our relayd as it is shipped, for measurements.
func PlainRelayd(t testing.TB, args ...string) *Service {
	t.Helper()
	return relayd(t, PlainBin(t, "relayd"), filepath.Join(Dir(t), "relayd"), args)
}

func relayd(t testing.TB, program, socket string, args []string) *Service {
	t.Helper()
	s := &Service{Socket: socket}
	cmd := exec.Command(program, append([]string{"-socket", s.Socket, "-user", "courier"}, args...)...)
	cmd.Env = baseEnv()
	s.Process = Start(t, cmd)
	// The socket's file is there a moment before somebody listens.
	s.ready(t, "answer on its socket", func() bool {
		conn, err := net.Dial("unixpacket", s.Socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return s
}

// Metric asks relayd for one of its counters, by its name without "mailproxy_".
func (s *Service) Metric(t testing.TB, name string) int {
	t.Helper()
	text := Run(t, "", PlainBin(t, "relayd"), "-socket", s.Socket, "stats")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "mailproxy_"+name+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in\n%s", name, text)
	return 0
}
