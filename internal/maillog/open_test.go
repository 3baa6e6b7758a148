package maillog

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
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
		write("what %d", 1)
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
	for stream, want := range map[string]string{
		"": "INFO: a\n", "1:1": "INFO: a\n",
		fmt.Sprintf("%d:%d", st.Dev, st.Ino):   "<6>a\n",
		fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): "INFO: a\n",
	} {
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		Open(file, "x", stream).Infof("a")
		if got, err := os.ReadFile(file.Name()); err != nil || string(got) != want {
			t.Errorf("JOURNAL_STREAM=%q: %q, %v; want %q", stream, got, err, want)
		}
	}
}
