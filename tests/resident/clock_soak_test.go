//go:build soak

package resident

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// stepVariable names a file with the seconds by which the clock of a stepping program was set.
const stepVariable = "TIME_STEP_FILE"

// stepSource is what a stepping program's package time has besides. The runtime's own clocks, by which timers
// and deadlines go, stay as they are, as they do when an administrator sets the clock.
const stepSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var step *int64

func init() {
	path, _ := syscall.Getenv("` + stepVariable + `")
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(path + ": " + err.Error())
	}
	defer syscall.Close(fd)
	mem, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(path + ": " + err.Error())
	}
	step = (*int64)(unsafe.Pointer(&mem[0]))
}

func stepped() int64 {
	if step == nil {
		return 0
	}
	return atomic.LoadInt64(step)
}
`

// steppingPrograms builds imapd-proxy and relayd with another package time, and returns their directory.
func steppingPrograms(t *testing.T) string {
	t.Helper()
	dir := harness.Dir(t)
	source := filepath.Join(strings.TrimSpace(harness.Run(t, "", "go", "env", "GOROOT")), "src", "time")
	text := harness.ReadFile(t, filepath.Join(source, "time.go"))
	const now = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {\n"
	if strings.Count(text, now) != 1 {
		t.Fatal("time.Now is another one than this test knows")
	}
	stepping := strings.Replace(now, "\tif", "\tsec += stepped()\n\tif", 1)
	changed := strings.Replace(text, now, stepping, 1)
	replace := map[string]string{}
	for name, text := range map[string]string{"time.go": changed, "step.go": stepSource} {
		replace[filepath.Join(source, name)] = filepath.Join(dir, name)
		harness.WriteFile(t, filepath.Join(dir, name), text, 0o644)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, filepath.Join(dir, "overlay.json"), string(overlay), 0o644)
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", dir+"/",
		"./imapd-proxy", "./relay/relayd")
	cmd.Dir, cmd.Env = harness.Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// TestVolumeClockSteps: the clock is set forward and back under sessions, connections that have not logged in
// and logins, with relayd and without. Nobody notices, failed logins go on counting, reloads work, and the
// LOGOUT line says how long the session has really lasted. The programs are built anew for it, which takes a
// minute.
func TestVolumeClockSteps(t *testing.T) {
	bin := steppingPrograms(t)
	harness.Site{Mailboxes: users}.Start(t)
	for _, withRelayd := range []bool{false, true} {
		t.Run(fmt.Sprintf("relayd %v", withRelayd), func(t *testing.T) {
			dir := harness.Dir(t)
			file := filepath.Join(dir, "step")
			set := func(d time.Duration) {
				t.Helper()
				// The same file: it is mapped.
				clock, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o644)
				if err != nil {
					t.Fatal(err)
				}
				defer clock.Close()
				if err := binary.Write(clock, binary.NativeEndian, int64(d/time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			set(0)
			f := newFrontEnd(t, harness.IMAP, nil)
			f.env = f.env.With(harness.Env{stepVariable: file, "LOGIN_FAIL_DELAY": "1", "MAXUNAUTH": "1000",
				"THROTTLE_FILE": filepath.Join(dir, "throttle")})
			log := func() string { return f.Log.String() }
			socket := filepath.Join(dir, "relayd")
			if withRelayd {
				cmd := exec.Command(filepath.Join(bin, "relayd"), "-socket", socket, "-user", "courier")
				cmd.Env = []string{"PATH=/usr/bin:/bin", stepVariable + "=" + file}
				relayd := harness.Start(t, cmd)
				if !harness.Eventually(func() bool { _, err := os.Stat(socket); return err == nil }) {
					t.Fatalf("no relayd:\n%s", relayd.Log)
				}
				f.env["RELAY_SOCKET"] = socket
				log = func() string { return f.Log.String() + relayd.Log.String() }
			}
			f.listenWith(t, filepath.Join(bin, f.Program))
			began := time.Now()
			session := harness.Dialogue(t, f.addr(), f.Login("carla", secret))
			steps := []time.Duration{time.Hour, -time.Hour, 10 * 365 * 24 * time.Hour, -24 * time.Hour}
			for i, step := range steps {
				before := harness.Dialogue(t, f.addr(), f.Greeting)
				set(step)
				session.MustPlay(t, f.Work)
				before.MustPlay(t, f.Credentials("dora", secret)+f.LoggedIn+f.Work+f.Logout)
				during := harness.Dialogue(t, f.addr(), f.Login("dora", secret)+f.Work)
				if withRelayd { // it has been set, else all this shows nothing
					year := fmt.Sprintf("\t%d-", time.Now().Add(step).Year())
					who := harness.Run(t, "", harness.PlainBin(t, "relayd"), "-socket", socket, "who")
					if !strings.Contains(who, year) {
						t.Errorf("no session began in the year of a clock that was set by %v:\n%s", step, who)
					}
				}
				during.MustPlay(t, f.Logout)
				asked := time.Now()
				const wrong = "C: a1 LOGIN carla wrong\nS* a1 NO .*\n"
				harness.Dialogue(t, f.addr(), f.Greeting+wrong).Conn.Close()
				if took, least := time.Since(asked), time.Duration(i+1)*time.Second; took < least {
					t.Errorf("failed login %d is answered after %v, want at least %v", i+1, took, least)
				}
				f.Reload(t)
				session.MustPlay(t, f.Work)
			}
			session.MustPlay(t, f.Logout)
			lasted := int(time.Since(began) / time.Second)
			line := regexp.MustCompile(`INFO: LOGOUT, user=carla, .*, time=(-?\d+)`)
			if !harness.Eventually(func() bool { return line.MatchString(log()) }) {
				t.Fatalf("no LOGOUT line:\n%s", log())
			}
			if n, _ := strconv.Atoi(line.FindStringSubmatch(log())[1]); n < 0 || n > lasted+1 {
				t.Errorf("time=%d, the session has lasted %d seconds", n, lasted)
			}
			if lines := f.Log.Find(`^(WARN|ERR|CRIT)`); len(lines) > 0 {
				t.Errorf("in the log: %q", lines)
			}
		})
	}
}
