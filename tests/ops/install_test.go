package ops

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// recipes returns the sh blocks of a document by the heading they are under.
func recipes(t *testing.T, name string) map[string]string {
	t.Helper()
	text := harness.Source(t, name)
	blocks := map[string]string{}
	for _, section := range strings.Split(text, "\n## ")[1:] {
		title, body, _ := strings.Cut(section, "\n")
		for _, m := range regexp.MustCompile("(?s)\n```sh\n(.*?)```").FindAllStringSubmatch(body, -1) {
			blocks[title] += m[1]
		}
	}
	return blocks
}

// TestInstallDocument does what docs/install.md says, in its order, and logs in under each launcher.
func TestInstallDocument(t *testing.T) {
	deb := builtPackage(t, "deb")
	blocks := recipes(t, "docs/install.md")
	m := newMachine(t)
	harness.Run(t, "", "mkdir", m.path("/tmp/dist"))
	harness.Run(t, "", "cp", deb, m.path("/tmp/dist"))
	harness.Dovecot(
		t,
		harness.DovecotOptions{
			Addr: mailhost, Accounts: []harness.Account{{Name: "ann@example.com", Password: "secret"}},
		},
	)
	do := func(title string) {
		t.Helper()
		if blocks[title] == "" {
			t.Fatalf("docs/install.md has no recipe %q", title)
		}
		m.run(t, "sh", "-e", "-c", "cd /tmp\n"+blocks[title])
		delete(blocks, title)
	}
	ann := strings.NewReplacer("user0 user0", "ann@example.com secret", "USER user0", "USER ann@example.com",
		"PASS user0", "PASS secret")
	login := func(addr string) {
		t.Helper()
		play(t, addr+":143", ann.Replace(logins["imap"].good)).Conn.Close()
		play(t, addr+":110", ann.Replace(logins["pop3"].good)).Conn.Close()
	}
	do("The package")
	do("An account")
	do("A certificate")
	do("Does it work?")
	do("Started by systemd")
	do("From one way to the other")
	do("And back")
	do("Resident, started by systemd")
	do("Resident, with accounts on this machine")
	for _, unit := range []string{"imapd-proxy-resident", "pop3d-proxy-resident"} {
		const wants = "/etc/systemd/system/multi-user.target.wants/"
		if _, err := os.Lstat(m.path(wants + unit + ".service")); err != nil {
			t.Errorf("not enabled: %v", err)
		}
	}
	for _, unit := range []string{"mailproxy-authdaemond", "mailproxy-relayd", "imapd-proxy", "imapd-proxy-ssl",
		"pop3d-proxy", "pop3d-proxy-ssl"} {
		if _, err := os.Lstat(m.path("/etc/systemd/system/sockets.target.wants/" + unit + ".socket")); err != nil {
			t.Errorf("not enabled: %v", err)
		}
	}

	do("Started by xinetd")
	xinetd := m.xinetd(t, "127.0.6.1")
	login("127.0.6.1")
	xinetd.Stop()

	do("Resident, started by xinetd")
	auth := m.service(t, "mailproxy-authdaemond", "ListenStream")
	socket := m.unit(t, "mailproxy-authdaemond.socket", "ListenStream")
	m.run(t, "chgrp", m.unit(t, "mailproxy-authdaemond.socket", "SocketGroup"), socket)
	m.run(t, "chmod", m.unit(t, "mailproxy-authdaemond.socket", "SocketMode"), socket)
	xinetd = m.xinetd(t, "127.0.6.3")
	login("127.0.6.3")
	started := func() []string {
		return strings.Fields(m.run(t, "pgrep", "-P", strconv.Itoa(xinetd.Cmd.Process.Pid)))
	}
	processes := started()
	login("127.0.6.3")
	if again := started(); len(again) != 2 || !slices.Equal(again, processes) {
		t.Errorf("xinetd has the processes %q, and %q after more logins", processes, again)
	}
	xinetd.Stop()
	m.run(t, append([]string{"kill"}, processes...)...)
	auth.Stop()

	cmd := m.command("sh", "-c", blocks["Started by tcpserver"]+"wait")
	delete(blocks, "Started by tcpserver")
	cmd.Env = append(cmd.Env, "ADDRESS=127.0.6.2")
	tcpserver := harness.Start(t, cmd)
	tcpserver.WaitListen(t, "127.0.6.2:143", "127.0.6.2:110")
	login("127.0.6.2")
	tcpserver.Log.WaitN(t, 2, `LOGIN, user=ann@example\.com, ip=\[127\.0\.0\.77\]`)
	tcpserver.Stop()

	do("fail2ban")
	// Debian's own jail for sshd wants its file, which a machine without a syslog service has not.
	m.run(t, "touch", "/var/log/auth.log")
	m.run(t, "fail2ban-server", "-t")
	do("Gone again")
	if _, err := os.Stat(m.path("/etc/mailproxy")); err == nil {
		t.Error("left: /etc/mailproxy")
	}
	for title := range blocks {
		t.Errorf("recipe %q is not run by this test", title)
	}
}

// xinetd starts xinetd with the machine's files, on an address of its own: the mailhost of the test has these
// ports on another one.
func (m *machine) xinetd(t *testing.T, ip string) *harness.Process {
	t.Helper()
	conf := "defaults\n{\n}\n"
	files, err := filepath.Glob(m.path("/etc/xinetd.d/*d-proxy*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text := m.read(t, "/etc/xinetd.d/"+filepath.Base(file))
		conf += strings.ReplaceAll(text, "\twait  ", "\tbind            = "+ip+"\n\twait  ")
	}
	write(t, m.path("/etc/xinetd.conf"), conf, 0o644)
	xinetd := harness.Start(t, m.command("xinetd", "-dontfork", "-f", "/etc/xinetd.conf"))
	xinetd.WaitListen(t, ip+":143", ip+":110")
	return xinetd
}
