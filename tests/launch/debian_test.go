package launch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/tests/harness"
)

// Courier as Debian starts it, its two login programs exchanged as etc/courier/README.md says, and exchanged
// back.
func TestDebianCourier(t *testing.T) {
	etc := install(t)
	world(t)
	overlay(t, "/usr/lib/courier/courier", "/var/lib/dpkg")
	steps := shellBlocks(t, filepath.Join(etc, "courier", "README.md"))
	if len(steps) != 4 {
		t.Fatalf("%d recipes in README.md", len(steps))
	}
	original := harness.ReadFile(t, harness.CourierIMAPLogin)
	t.Cleanup(func() {
		for _, script := range []string{"/usr/sbin/imapd", "/usr/sbin/imapd-ssl", "/usr/sbin/pop3d",
			"/usr/sbin/pop3d-ssl"} {
			exec.Command(script, "stop").Run()
		}
	})
	recipe(t, etc, steps[0])
	// The second, our authdaemond as a service, needs systemd: tests/ops.
	recipe(t, etc, steps[2])
	dropIn := harness.ReadFile(t, "/etc/systemd/system/courier-imap.service.d/mailproxy.conf")
	if dropIn != "[Service]\nTimerSlackNSec=1ms\n" {
		t.Errorf("the drop-in is %q", dropIn)
	}
	for _, s := range sides {
		path := "/etc/courier/" + s.Config
		text := harness.ReadFile(t, path)
		text = regexp.MustCompile(`(?m)^ADDRESS=.*$`).ReplaceAllString(text, "ADDRESS="+proxy)
		text = regexp.MustCompile(`(?m)^`+s.Name+`_PROXY=.*$`).ReplaceAllString(text, s.Name+"_PROXY=1")
		harness.WriteFile(t, path, text+"LOGIN_FAIL_DELAY=0\n", 0o644)
	}
	// Debian's limit is in force for IMAP, so that the test proves something.
	if !regexp.MustCompile(`(?m)^IMAP_ULIMITD=131072$`).MatchString(harness.ReadFile(t, "/etc/courier/imapd")) {
		t.Fatal("/etc/courier/imapd sets no IMAP_ULIMITD=131072")
	}
	for _, s := range sides {
		t.Run(s.Name, func(t *testing.T) {
			log := harness.Syslog(t)
			start(t, "/usr/sbin/"+s.Config, s.At(proxy))
			s.sessions(t, s.At(proxy))
			s.wantLog(t, log, "::ffff:127.0.0.1")
		})
	}
	t.Run("limit of the local server", localLimit)
	for _, s := range sides {
		t.Run(s.Name+" over couriertls", func(t *testing.T) {
			log := harness.Syslog(t)
			path := "/etc/courier/" + s.Config + "-ssl"
			more := "SSLADDRESS=" + proxy + "\nTLS_CERTFILE=/etc/mailproxy/" + s.Config + ".pem\n"
			harness.WriteFile(t, path, harness.ReadFile(t, path)+more, 0o644)
			// couriertls reads it as courier
			if err := os.Chmod("/etc/mailproxy/"+s.Config+".pem", 0o644); err != nil {
				t.Fatal(err)
			}
			start(t, "/usr/sbin/"+s.Config+"-ssl", fmt.Sprintf("%s:%d", proxy, s.TLSPort))
			s.overTLS(t)
			log.WaitN(t, 1, `LOGIN, user=there, ip=\[::ffff:127\.0\.0\.1\], .*, (starttls|stls)=1$`)
		})
	}
	recipe(t, etc, steps[3])
	if harness.ReadFile(t, harness.CourierIMAPLogin) != original {
		t.Error("Courier's imaplogin is not back")
	}
	out, err := exec.Command("dpkg-divert", "--list", "/usr/lib/courier/*").Output()
	if err != nil || len(out) != 0 {
		t.Errorf("diversions left: %s, %v", out, err)
	}
}

// localLimit looks at a running local imapd: the limit that Courier's script wanted for it is in force again,
// and it is the only one of the session's programs that is left.
func localLimit(t *testing.T) {
	runner := harness.Dialogue(t, imap.At(proxy), `
S~ \* OK .*
C: a1 LOGIN here pw
S~ a1 OK .*
`)
	defer runner.Conn.Close()
	found := 0
	for _, p := range harness.Procs(t) {
		if len(p.Args) == 0 || p.Args[0] != harness.CourierIMAPD {
			continue
		}
		found++
		limits := harness.ReadFile(t, "/proc/"+strconv.Itoa(p.PID)+"/limits")
		if !regexp.MustCompile(`Max address space +134217728 +134217728 `).MatchString(limits) {
			t.Errorf("limits of imapd:\n%s", limits)
		}
		if fds, err := os.ReadDir("/proc/" + strconv.Itoa(p.PID) + "/fd"); err != nil || len(fds) > 8 {
			t.Errorf("imapd has %d descriptors, %v", len(fds), err)
		}
	}
	if found != 1 {
		t.Errorf("%d processes of imapd", found)
	}
}

// start runs Debian's start script and waits for its server.
func start(t *testing.T, script, addr string) {
	t.Helper()
	command := exec.Command(script, "start")
	command.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, softLimits(t)...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s start: %v\n%s", script, err, out)
	}
	if !harness.Eventually(func() bool { return harness.Listening(t, addr) }) {
		t.Fatalf("%s start: nobody listens on %s", script, addr)
	}
}

// softLimits is for machines on which root lacks CAP_SYS_RESOURCE, as in many containers, where nothing can
// lift a hard limit: there the shell that runs Courier's start script sets the soft limit alone, which the
// programs feel just the same. The script itself stays as it is.
func softLimits(t *testing.T) (env []string) {
	t.Helper()
	effective := regexp.MustCompile(`(?m)^CapEff:\s*([0-9a-f]+)$`).
		FindStringSubmatch(harness.ReadFile(t, "/proc/self/status"))
	bits, err := strconv.ParseUint(effective[1], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if bits&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return nil
	}
	if err := unix.Mount("/bin/bash", "/bin/dash", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount("/bin/dash", unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return []string{`BASH_FUNC_ulimit%%=() { builtin ulimit -S "$@"; }`}
}

// shellBlocks returns the shell commands of a document, block by block.
func shellBlocks(t *testing.T, path string) (blocks []string) {
	t.Helper()
	text := harness.ReadFile(t, path)
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// recipe runs commands as an administrator would type them.
func recipe(t *testing.T, etc, commands string) {
	t.Helper()
	command := exec.Command("/bin/sh", "-ex")
	command.Dir = filepath.Join(etc, "courier")
	command.Stdin = strings.NewReader(commands)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Why there is a wrapper: when this fails, Go programs start under Debian's limit, and it can go.
func TestWhyWrapper(t *testing.T) {
	limited := `ulimit -v 131072; exec "$0" -version`
	if out, err := exec.Command("/bin/sh", "-c", limited,
		harness.PlainBin(t, "imapd-proxy")).Output(); err == nil {
		t.Errorf("started: %s", out)
	}
}

// Without root the wrapper cannot lift a limit: it says so to both sides instead of starting what cannot
// run.
func TestWrapperNotRoot(t *testing.T) {
	wrapper := filepath.Join(harness.Root(t), "etc", "courier", "imaplogin")
	script := `ulimit -v 131072; IMAP_ULIMITD=131072 setpriv --reuid=nobody --clear-groups sh ` + filepath.Join(
		harness.Dir(t), "imaplogin")
	copied := filepath.Join(strings.Fields(script)[len(strings.Fields(script))-1])
	harness.WriteFile(t, copied, harness.ReadFile(t, wrapper), 0o644)
	command := exec.Command("/bin/sh", "-c", script)
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err == nil || string(out) != "* BYE Temporary problem, please try again later\r\n" ||
		!strings.Contains(
			stderr.String(),
			"CRIT: imaplogin: cannot lift the address-space limit (no CAP_SYS_RESOURCE): set IMAP_ULIMITD= in "+
				"/etc/courier/imapd\n",
		) {
		t.Errorf("%v, %q, %q", err, out, stderr.String())
	}
}
