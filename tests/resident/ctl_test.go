package resident

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// administer starts a resident front end with an admin socket, whose path it returns.
func administer(t *testing.T, s harness.Protocol, relayd *harness.Service) (*frontEnd, string) {
	t.Helper()
	f := newFrontEnd(t, s, relayd)
	socket := filepath.Join(harness.Dir(t), "admin")
	f.listen(t, "-admin", socket)
	return f, socket
}

// TestControl: sessions that relayd carries and those of two resident front ends, in one list; logins that
// add up; sessions ended by user and by address. A reload changes nothing of it.
func TestControl(t *testing.T) {
	harness.Site{Mailboxes: users}.Start(t)
	relayd := harness.Relayd(t)
	imap, imapSocket := administer(t, harness.IMAP, nil)
	pop3, pop3Socket := administer(t, harness.POP3, relayd)
	options := []string{"-user", "courier", "-socket", "relayd=" + relayd.Socket,
		"-socket", "imapd-proxy=" + imapSocket, "-socket", "pop3d-proxy=" + pop3Socket}
	ctl := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(harness.PlainBin(t, "mailproxyctl"), append(options, args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", args, err, &stderr)
		}
		return string(out)
	}
	carla := harness.Dialogue(t, imap.addr(), imap.Login("carla", secret))
	dora := harness.Dialogue(t, imap.addr(), imap.Login("dora", secret))
	popped := harness.Dialogue(t, pop3.addr(), pop3.Login("carla", secret))
	imap.Reload(t)

	var who struct {
		Sessions []struct{ User, Protocol, Mailhost, Program string }
	}
	if err := json.Unmarshal([]byte(ctl("who", "-json")), &who); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, x := range who.Sessions {
		got[fmt.Sprint(x.User, " ", x.Protocol, " ", x.Program)] = true
	}
	for _, want := range []string{"carla IMAP imapd-proxy", "dora IMAP imapd-proxy", "carla POP3 relayd"} {
		if !got[want] {
			t.Errorf("no %s in %v", want, got)
		}
	}
	if len(who.Sessions) != 3 {
		t.Errorf("%d sessions", len(who.Sessions))
	}
	table := ctl("who")
	if lines := strings.Split(table, "\n"); len(lines) != 5 || !strings.HasPrefix(lines[0], "USER ") {
		t.Errorf("who:\n%s", table)
	}
	var stats struct {
		Samples []struct {
			Name, Program string
			Labels        map[string]string
			Value         float64
		}
	}
	if err := json.Unmarshal([]byte(ctl("stats", "-json")), &stats); err != nil {
		t.Fatal(err)
	}
	pop3Logins, handOvers := 0.0, map[string]float64{}
	for _, x := range stats.Samples {
		if x.Name == "mailproxy_logins_total" && x.Labels["protocol"] == "pop3" {
			pop3Logins += x.Value
		}
		if x.Name == "mailproxy_handovers_total" {
			handOvers[x.Program+" "+x.Labels["result"]] += x.Value
		}
	}
	maps.DeleteFunc(handOvers, func(_ string, n float64) bool { return n == 0 })
	if want := map[string]float64{"pop3d-proxy taken": 1}; !maps.Equal(handOvers, want) {
		t.Errorf("hand-overs: %v, want %v", handOvers, want)
	}
	if pop3Logins != 1 {
		t.Errorf("%v POP3 logins in all programs, not 1", pop3Logins)
	}
	if hosts := ctl("mailhosts"); !strings.Contains(hosts, harness.CourierHost+" ") {
		t.Errorf("mailhosts:\n%s", hosts)
	}
	if n := ctl("kick", "dora"); n != "1\n" {
		t.Errorf("kick dora: %q", n)
	}
	dora.MustPlay(t, "S-\n")
	carla.MustPlay(t, imap.Work)
	if n := ctl("kick", "127.0.0.1"); n != "2\n" {
		t.Errorf("kick 127.0.0.1: %q", n)
	}
	carla.MustPlay(t, "S-\n")
	popped.MustPlay(t, "S-\n")
}
