package identity

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		uid, gid uint32
		groups   []uint32
		want     error
	}{
		{1, 1, nil, nil},
		{none - 1, none - 1, []uint32{0, 5}, nil},
		{0, 1, nil, ErrRoot},
		{1, 0, nil, ErrRoot},
		{0, none, nil, ErrRoot},
		{none, 1, nil, errNone},
		{1, none, nil, errNone},
		{1, 1, []uint32{1, none}, errNone},
	} {
		if err := Check(test.uid, test.gid, test.groups); !errors.Is(err, test.want) ||
			(err == nil) != (test.want == nil) {
			t.Errorf("%d %d %v: %v, want %v", test.uid, test.gid, test.groups, err, test.want)
		}
	}
}

func TestVerify(t *testing.T) {
	list, err := unix.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	var groups []uint32
	for _, g := range list {
		groups = append([]uint32{uint32(g), uint32(g)}, groups...)
	}
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	for name, verify := range map[string]func(uid, gid uint32, groups []uint32) error{
		"thread":  Verify,
		"process": func(u, g uint32, gs []uint32) error { return VerifyProcess(os.Getpid(), u, g, gs) },
	} {
		if err := verify(uid, gid, groups); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, err := range []error{
			verify(uid+1, gid, groups), verify(uid, gid+1, groups), verify(uid, gid,
				append(groups, 4321)), verify(none, gid, groups),
		} {
			if !errors.Is(err, errNotBecome) {
				t.Errorf("%s: another identity: %v", name, err)
			}
		}
	}
}

// A child that got everything but one of the three ids, or one group too many, is found out.
func TestCompare(t *testing.T) {
	good := []int{7, 7, 7}
	for name, err := range map[string]error{
		"saved uid":     compare([]int{7, 7, 0}, good, nil, 7, 7, nil),
		"effective gid": compare(good, []int{7, 0, 7}, nil, 7, 7, nil),
		"a group left":  compare(good, good, []int{0, 7}, 7, 7, []uint32{7}),
		"a group short": compare(good, good, nil, 7, 7, []uint32{7}),
		"nothing":       compare(nil, nil, nil, 7, 7, nil),
	} {
		if !errors.Is(err, errNotBecome) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := compare(good, good, []int{7, 8}, 7, 7, []uint32{8, 7, 8}); err != nil {
		t.Error(err)
	}
}

func TestVerifyProcess(t *testing.T) {
	command := exec.Command("/bin/sleep", "60")
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 4321,
		Groups: []uint32{4321, 99}}}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	defer command.Process.Kill()
	if err := VerifyProcess(command.Process.Pid, 1234, 4321, []uint32{99, 4321}); err != nil {
		t.Error(err)
	}
	if err := VerifyProcess(command.Process.Pid, 1234, 4321, []uint32{4321}); !errors.Is(err, errNotBecome) {
		t.Errorf("a group too many: %v", err)
	}
}

// TestMain makes this test binary a program that becomes somebody and says who each of its threads is then.
func TestMain(m *testing.M) {
	if os.Getenv("IDENTITY_TEST") != "" {
		if err := Become(1234, 4321, []uint32{4321, 99}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(syscall.Setuid(0))
		threads, _ := filepath.Glob("/proc/self/task/*/status")
		for _, status := range threads {
			text, _ := os.ReadFile(status)
			for line := range strings.Lines(string(text)) {
				switch name, _, _ := strings.Cut(line, ":"); name {
				case "Uid", "Gid", "Groups":
					fmt.Println(strings.Join(strings.Fields(line), " "))
				}
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Every thread is another user then, and root does not come back. Ids that nobody may have change nothing.
func TestBecome(t *testing.T) {
	command := exec.Command("/proc/self/exe")
	command.Env = []string{"IDENTITY_TEST=1", "GORACE=" + os.Getenv("GORACE")}
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	threads := 0
	for line := range strings.Lines(string(out)) {
		switch strings.TrimSpace(line) {
		case "operation not permitted", "Uid: 1234 1234 1234 1234", "Gid: 4321 4321 4321 4321":
		case "Groups: 99 4321":
			threads++
		default:
			t.Errorf("a thread has %s", line)
		}
	}
	if threads < 2 {
		t.Errorf("%d threads, which proves nothing", threads)
	}
	for _, err := range []error{
		Become(none, 4321, nil), Become(1234, none, nil), Become(0, 1, nil), Become(1, 1, []uint32{none}),
	} {
		if err == nil {
			t.Error("no error")
		}
	}
	if os.Getuid() != 0 || os.Getgid() != 0 {
		t.Error("a part of root's rights is gone")
	}
}
