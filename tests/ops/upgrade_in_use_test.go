package ops

import (
	"net"
	"path/filepath"
	"testing"
)

// testPackage upgrades, removes and purges the Debian package.
func (m *machine) testPackage(t *testing.T) {
	next := m.copyIn(t, nextVersion(t, builtPackage(t, "deb")))
	m.upgradeInUse(t, func() { m.dpkg(t, "-i", next) })
	m.dpkg(t, "-r", "mailproxy")
	m.wantStopped(t)
	m.dpkg(t, "-P", "mailproxy")
	m.wantGone(t)
}

// upgradeInUse upgrades the package, which keeps every session and brings the new programs into use.
func (m *machine) upgradeInUse(t *testing.T, upgrade func()) {
	t.Helper()
	var visits []*visit
	for port := range fronts {
		visits = append(visits, m.visit(t, port, "ann@example.com"), m.visit(t, port, "joe"))
	}
	m.held(t, 6)
	relayd, authdaemond := m.mainPID(t, "mailproxy-relayd.service"), m.mainPID(t,
		"mailproxy-authdaemond.service")
	upgrade()
	m.held(t, 6)
	for _, v := range visits {
		v.alive(t)
	}
	for unit, old := range map[string]string{
		"mailproxy-relayd.service": relayd, "mailproxy-authdaemond.service": authdaemond,
	} {
		if m.mainPID(t, unit) == old {
			t.Errorf("%s is still the process of before the upgrade", unit)
		}
	}
	m.visit(t, "143", "ann@example.com").leave(t)
	for _, v := range visits {
		v.leave(t)
	}
	for _, unit := range fronts {
		m.gone(t, unit)
	}
}

// wantStopped: after a removal nothing runs or listens, and nothing has failed.
func (m *machine) wantStopped(t *testing.T) {
	t.Helper()
	for port := range fronts {
		if conn, err := net.Dial("tcp", inside+":"+port); err == nil {
			conn.Close()
			t.Errorf("after removal somebody listens on port %s", port)
		}
	}
	m.running(t, "*proxy*.service", 0)
	m.running(t, "*proxy*.socket", 0)
	if failed := m.run(t, "systemctl", "--failed", "--no-legend", "--plain"); failed != "" {
		t.Errorf("failed:\n%s", failed)
	}
}

// wantGone: neither links to units nor what was made at run time is left.
func (m *machine) wantGone(t *testing.T) {
	t.Helper()
	const wants = "/etc/systemd/system/*.wants/"
	for _, pattern := range []string{wants + "*d-proxy*", wants + "mailproxy*", "/run/mailproxy"} {
		if left, _ := filepath.Glob(m.path(pattern)); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}
