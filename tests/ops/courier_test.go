package ops

import (
	"strings"
	"testing"
)

// testCourierAuthdaemon: authdaemond in the place of Courier's, as etc/courier/README.md says, answers
// Courier's programs.
func (m *machine) testCourierAuthdaemon(t *testing.T) {
	const service = "courier-authdaemon.service"
	m.run(t, "sh", "-e", "-c", `cd /etc/courier
sed -i 's/^authmodulelist=.*/authmodulelist="authuserdb"/' authdaemonrc
hash=$(openssl passwd -6 secret)
printf 'kim\tuid=1000|gid=1000|home=/nonexistent|systempw=%s\n' "$hash" >/etc/courier/userdb
chmod 600 /etc/courier/userdb
rm -f /etc/courier/userdb*.dat
cd /usr/share/doc/mailproxy/examples/courier
`+recipes(t, "etc/courier/README.md")["Our authdaemond in the place of Courier's"])
	exe := strings.TrimSpace(m.run(t, "readlink", "/proc/"+m.mainPID(t, service)+"/exe"))
	if exe != "/usr/lib/mailproxy/authdaemond" {
		t.Errorf("%s runs %s", service, exe)
	}
	if out := m.run(t, "/usr/sbin/authtest", "kim", "secret"); !strings.Contains(out, "Authenticated: kim") {
		t.Errorf("Courier's authtest: %s", out)
	}
	m.run(t, "rm", "/etc/systemd/system/"+service)
	m.run(t, "systemctl", "stop", service)
	m.run(t, "systemctl", "daemon-reload")
}
