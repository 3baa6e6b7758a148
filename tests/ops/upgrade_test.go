package ops

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// asOldUser begins a command of the user that all services were.
var asOldUser = []string{"setpriv", "--reuid=mailproxy", "--regid=mailproxy", "--clear-groups"}

// TestUpgrade: a machine as the last release leaves it, where relayd, authdaemond and front ends after the
// login are one user, mailproxy, who may write to the sockets' directories, becomes one with three users.
// Sessions go on, and so do logins.
func TestUpgrade(t *testing.T) {
	m := installed(t)
	m.becomeOld(t)
	m.run(t, "systemctl", "start", "mailproxy-authdaemond.socket", "mailproxy-relayd.socket")
	var visits []*visit
	for port := range fronts {
		visits = append(visits, m.visit(t, port, "ann@example.com"), m.visit(t, port, "joe"))
	}
	who := m.run(t, "/usr/sbin/mailproxy-relayd", "who")
	const relayd, authdaemond = "mailproxy-relayd.service", "mailproxy-authdaemond.service"
	old := map[string]string{relayd: m.mainPID(t, relayd), authdaemond: m.mainPID(t, authdaemond)}
	for _, pid := range old {
		m.wantUser(t, pid, "mailproxy")
	}
	// What the old user could do to the directory of a service that is none of its business: the socket of the
	// metrics is a link.
	victim := "/srv/victim"
	write(t, m.path(victim), "root's\n", 0o600)
	for _, service := range []string{"authdaemon", "relayd"} {
		m.run(t, append(slices.Clone(asOldUser), "ln", "-s", victim, "/run/mailproxy/"+service+"/metrics")...)
	}

	m.dpkg(t, "-i", m.copyIn(t, nextVersion(t, builtPackage(t, "deb"))))
	m.wantFiles(t)
	for path, want := range map[string]string{
		"/run/mailproxy/authdaemon/socket": "root:mailproxy-keys:660",
		// The last release's unit has no such line: the package starts the socket again.
		"/run/mailproxy/authdaemon/socket.persistent": "root:mailproxy-keys:660",
		"/run/mailproxy/relayd/socket":                "root:mailproxy-keys:660",
		"/etc/mailproxy/userdb.dat":                   "mailproxy-auth:mailproxy-auth:600",
		victim:                                        "root:root:600",
	} {
		if got := strings.TrimSpace(m.run(t, "stat", "-c", "%U:%G:%a", path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for unit, user := range map[string]string{relayd: "mailproxy", authdaemond: "mailproxy-auth"} {
		if m.mainPID(t, unit) == old[unit] {
			t.Errorf("%s is still the process of before the upgrade", unit)
		}
		m.wantUser(t, m.mainPID(t, unit), user)
	}
	for _, v := range visits {
		v.alive(t)
	}
	m.held(t, strings.Count(who, "\n"))
	for port := range fronts {
		m.visit(t, port, "ann@example.com").leave(t)
		m.visit(t, port, "joe").leave(t)
	}
	for _, v := range visits {
		v.leave(t)
	}
	// As after the next boot.
	m.run(t, "systemctl", "restart", "mailproxy-authdaemond.socket", relayd, authdaemond)
	v := m.visit(t, "143", "ann@example.com")
	m.held(t, 1)
	v.leave(t)
	for _, e := range m.journal(t, "-p", "err") {
		t.Errorf("%s: %s", e.Identifier, e.Message)
	}

	// A listener in the place of authdaemond, made while the directory was the old user's: the next run of the
	// script puts systemd's there.
	m.run(t, "chmod", "0770", "/run/mailproxy/authdaemon")
	m.run(t, "chgrp", "mailproxy", "/run/mailproxy/authdaemon")
	const listen = `
import os, socket
s = socket.socket(socket.AF_UNIX)
s.bind("/run/mailproxy/authdaemon/new")
s.listen(5)
os.rename("/run/mailproxy/authdaemon/new", "/run/mailproxy/authdaemon/socket")
while True:
    c, _ = s.accept()
    print("told", c.recv(4096), flush=True)
    c.close()
`
	thief := harness.Start(t, m.command(append(slices.Clone(asOldUser), "/usr/bin/python3", "-c", listen)...))
	if !harness.Eventually(func() bool {
		return strings.HasPrefix(m.run(t, "stat", "-c", "%U", "/run/mailproxy/authdaemon/socket"), "mailproxy")
	}) {
		t.Fatalf("there is no listener:\n%s", thief.Log)
	}
	const dialogue = "S* \\* OK .*\nC: a LOGIN ann@example.com secret\nS* a NO \\[UNAVAILABLE\\].*\n"
	harness.Dialogue(t, inside+":143", dialogue)
	m.waitJournal(t, "line about the listener", func(e entry) bool {
		stranger := strings.Contains(e.Message, "(mailproxy)") && strings.Contains(e.Message, "AUTHDAEMON_USER")
		return stranger && e.Priority == "3"
	}, "-t", "imapd")
	m.run(t, "/var/lib/dpkg/info/mailproxy.postinst", "configure")
	m.visit(t, "143", "ann@example.com").leave(t)
	if told := thief.Log.Find("secret"); len(told) > 0 {
		t.Errorf("passwords were told to a stranger: %q", told)
	}
}

// becomeOld takes the machine back to what the last release's package makes of it: one user, and directories
// that its group may write to.
func (m *machine) becomeOld(t *testing.T) {
	t.Helper()
	m.run(t, "systemctl", "stop", "mailproxy-authdaemond.socket", "mailproxy-relayd.socket",
		"mailproxy-authdaemond.service", "mailproxy-relayd.service")
	units, err := filepath.Glob(m.path("/usr/lib/systemd/system/*proxy*"))
	if err != nil || len(units) == 0 {
		t.Fatal(units, err)
	}
	for _, unit := range units {
		text := harness.ReadFile(t, unit)
		old := strings.NewReplacer(
			"User=mailproxy-auth", "User=mailproxy",
			"SocketGroup=mailproxy-keys", "SocketGroup=mailproxy",
			" -allow @mailproxy-keys", "",
			"-metrics\n", "\n",
			"FileDescriptorName=socket\n", "",
			"ListenStream=/run/mailproxy/authdaemon/socket.persistent\n", "")
		write(t, unit, old.Replace(text), 0o644)
	}
	m.run(t, "sh", "-e", "-c", `
cd /etc/mailproxy
cp -p userdb userdb.dat
chown mailproxy:mailproxy userdb userdb.dat
chgrp mailproxy auth*rc
rm -r /run/mailproxy/*
install -d -o root -g mailproxy -m 0770 /run/mailproxy/authdaemon /run/mailproxy/relayd
chgrp root imapd* pop3d*
chmod 0600 imapd* pop3d*
sed -i 's/-allow @mailproxy-keys//' relayd
userdel mailproxy-auth
userdel mailproxy-login
groupdel mailproxy-keys
rm /usr/lib/sysusers.d/mailproxy.conf /usr/lib/tmpfiles.d/mailproxy.conf
systemctl daemon-reload`)
}

// wantUser looks who a process runs as.
func (m *machine) wantUser(t *testing.T, pid, user string) {
	t.Helper()
	id := strings.TrimSpace(m.run(t, "id", "-u", user))
	if uid := m.status(t, pid, "Uid"); uid != strings.Join([]string{id, id, id, id}, " ") {
		t.Errorf("process %s runs as %s instead of %s (%s)", pid, uid, user, id)
	}
}
