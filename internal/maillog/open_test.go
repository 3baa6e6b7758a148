package maillog

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestOpenSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	service, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	log := Open(file, "authdaemond", "")
	for want, write := range map[string]func(string, ...any){
		"<19>": log.Errf, "<20>": log.Warnf, "<22>": log.Infof, "<23>": log.Debugf,
	} {
		write("authdaemond: what %d", 1)
		message := make([]byte, 100)
		n, err := service.Read(message)
		form := regexp.MustCompile(fmt.Sprintf(
			`^%s[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d authdaemond\[%d\]: what 1$`, want, os.Getpid()))
		if got := message[:n]; err != nil || !form.Match(got) {
			t.Errorf("syslog has %q, %v; want %s", got, err, form)
		}
	}
}

func TestOpenFile(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	const plain = "INFO: relayd: ready\nWARN: relayd\nCRIT: x\nERR: x\nNOTICE: x\nDEBUG: relayd: relayd: x\n" +
		"INFO: LOGOUT, user=relayd: \n"
	const journal = "<6>ready\n<4>relayd\n<2>x\n<3>x\n<5>x\n<7>relayd: x\n<6>LOGOUT, user=relayd: \n"
	for stream, want := range map[string]string{
		"": plain, "1:1": plain,
		fmt.Sprintf("%d:%d", st.Dev, st.Ino):   journal,
		fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): plain,
	} {
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		log := Open(file, "relayd", stream)
		for line := range strings.Lines(plain) {
			log.Line(line)
		}
		if got, err := os.ReadFile(file.Name()); err != nil || string(got) != want {
			t.Errorf("JOURNAL_STREAM=%q: %q, %v; want %q", stream, got, err, want)
		}
	}
}
