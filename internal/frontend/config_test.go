package frontend

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"mailproxy/internal/inetd"
	"mailproxy/relay"
)

var imap = Protocol{Name: "IMAP", Service: "imap", Port: "143", TLSPort: "993", TLSWord: "starttls", NonBlocking: true}
var pop3 = Protocol{Name: "POP3", Service: "pop3", Port: "110", TLSPort: "995", TLSWord: "stls"}

// The documented defaults.
func TestConfigDefaults(t *testing.T) {
	got, err := NewConfig(nil, &imap)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		LoginTimeout: time.Minute, MaxCommands: 100, ConnectTimeout: 30 * time.Second, MailhostTimeout: 30 * time.Second, HandshakeTimeout: 30 * time.Second,
		Keepalive: 300 * time.Second, HalfClosed: 300 * time.Second, FailDelay: 5 * time.Second, FailDelayMax: 30 * time.Second,
		AuthConnect: 10 * time.Second, AuthWrite: 10 * time.Second, AuthRead: 30 * time.Second, RelaySocket: relay.DefaultSocket, Umask: -1,
		AuthUsers: []string{"mailproxy-auth", "courier"}, RelaydUsers: []string{"mailproxy"},
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
}

func TestConfig(t *testing.T) {
	s := inetd.Settings{
		"LOGIN_TIMEOUT": "1", "LOGIN_MAX_COMMANDS": "7", "PROXY_CONNECT_TIMEOUT": "2", "PROXY_LOGIN_TIMEOUT": "3", "TLS_HANDSHAKE_TIMEOUT": "7", "PROXY_KEEPALIVE": "0", "PROXY_HALFCLOSE_TIMEOUT": "7", "LOGIN_FAIL_DELAY": "0",
		"AUTHDAEMON_SOCKET": "/s", "AUTHDAEMON_PROGRAM": "/p", "TIMEOUT_SOCK": "4", "TIMEOUT_WRITE": "5", "TIMEOUT_READ": "6",
		"AUTHDAEMON_USER": "a,b", "RELAY_USER": "c d", "RELAY_SOCKET": "/r", "PROXY_USER": "u", "DEFDOMAIN": "@d", "DOMAINSEP": "@%", "POP3_PROXY": "1", "PROXY_HOSTNAME": "h",
		"PROXY_TLS": "starttls", "PROXY_MASTER_USER": "m", "PROXY_MASTER_PASSWORD_FILE": "/f", "AUTH_MKHOMEDIR_SKEL": "/k",
		"LOCAL_ULIMIT_V": "131072", "IMAP_UMASK": "077", "DEBUG_LOGIN": "2",
	}
	got, err := NewConfig(s, &pop3)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		LoginTimeout: time.Second, MaxCommands: 7, ConnectTimeout: 2 * time.Second, MailhostTimeout: 3 * time.Second, HandshakeTimeout: 7 * time.Second, HalfClosed: 7 * time.Second,
		AuthSocket: "/s", AuthProgram: "/p", AuthConnect: 4 * time.Second, AuthWrite: 5 * time.Second, AuthRead: 6 * time.Second,
		AuthUsers: []string{"a", "b"}, RelaydUsers: []string{"c", "d"}, RelaySocket: "/r", RelayUser: "u", DefDomain: "@d", DomainSep: "@%", Proxy: true, Hostname: "h",
		TLS: proxyTLSStart, MasterUser: "m", MasterFile: "/f", Skeleton: "/k", AddressSpace: "131072", Umask: -1, FailDelayMax: 30 * time.Second, Debug: true,
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	for socket, want := range map[string]int{"/run/courier/authdaemon/socket": 2, "/var/run/courier//authdaemon/socket": 2, "/run/mailproxy/authdaemon/socket": 1} {
		got, err := NewConfig(inetd.Settings{"AUTHDAEMON_SOCKET": socket}, &imap)
		if err != nil || got.AuthUsers[0] != "mailproxy-auth" || len(got.AuthUsers) != want {
			t.Errorf("%s: %+v, %v", socket, got, err)
		}
	}
	s["POP3_PROXY"] = "YES" // C's atoi, as in Courier
	s["LOCAL_ULIMIT_V"] = "unlimited"
	got, err = NewConfig(s, &imap)
	if err != nil || got.Proxy || got.AddressSpace != "" || got.Umask != 0o077 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Every bad value stops the program with the setting's name.
func TestConfigErrors(t *testing.T) {
	for setting, want := range map[string]string{
		"LOGIN_TIMEOUT=0":             `LOGIN_TIMEOUT="0": must be at least 1 second`,
		"LOGIN_TIMEOUT=x":             `LOGIN_TIMEOUT="x": must be a number of seconds from 0 to 316224000`,
		"PROXY_CONNECT_TIMEOUT=0":     `PROXY_CONNECT_TIMEOUT="0": must be at least 1 second`,
		"PROXY_LOGIN_TIMEOUT=1m":      `PROXY_LOGIN_TIMEOUT="1m": must be a number of seconds from 0 to 316224000`,
		"PROXY_KEEPALIVE=off":         `PROXY_KEEPALIVE="off": must be a number of seconds from 0 to 316224000`,
		"LOGIN_FAIL_DELAY=-1":         `LOGIN_FAIL_DELAY="-1": must be a number of seconds from 0 to 316224000`,
		"TIMEOUT_SOCK=0":              `TIMEOUT_SOCK="0": must be at least 1 second`,
		"TIMEOUT_WRITE=a":             `TIMEOUT_WRITE="a": must be a number of seconds from 0 to 316224000`,
		"TIMEOUT_READ= 1":             `TIMEOUT_READ=" 1": must be a number of seconds from 0 to 316224000`,
		"PROXY_TLS=MAYBE":             `PROXY_TLS="MAYBE": must be NO, STARTTLS or YES`,
		"PROXY_MASTER_USER=m":         "PROXY_MASTER_USER and PROXY_MASTER_PASSWORD_FILE: both or none must be set",
		"PROXY_MASTER_PASSWORD_FILE=": "",
		"AUTHDAEMON_USER=a,@b":        `AUTHDAEMON_USER="a,@b": must be users, not groups`,
		"RELAY_USER=@b":               `RELAY_USER="@b": must be users, not groups`,
		"LOCAL_ULIMIT_V=128M":         `LOCAL_ULIMIT_V="128M": must be a number of KiB or unlimited`,
		"IMAP_UMASK=9":                `IMAP_UMASK="9": must be an octal number from 0 to 777`,
		"IMAP_UMASK=1777":             `IMAP_UMASK="1777": must be an octal number from 0 to 777`,
	} {
		_, err := NewConfig(inetd.NewSettings([]string{setting}), &imap)
		if got := errorText(err); got != want {
			t.Errorf("%s: error %q, want %q", setting, got, want)
		}
	}
	_, err := NewConfig(inetd.Settings{"LOGIN_TIMEOUT": "x", "TIMEOUT_READ": "y"}, &imap)
	if got := errorText(err); !strings.Contains(got, "LOGIN_TIMEOUT") || !strings.Contains(got, "TIMEOUT_READ") {
		t.Errorf("not every bad setting is named: %s", got)
	}
}

func TestLoginName(t *testing.T) {
	for _, test := range []struct{ domain, sep, user, want string }{
		{"", "", "bob", "bob"},
		{"", "@", "bob", "bob"},
		{"@example.com", "", "bob", "bob@example.com"},
		{"@example.com", "", "bob@example.org", "bob@example.org"},
		{"@example.com", "", "bob%example.org", "bob%example.org@example.com"},
		{"@example.com", "@%", "bob%example.org", "bob%example.org"},
		{"%example.com", "", "bob@x", "bob@x%example.com"},
		{"@example.com", "@", "@", "@"},
	} {
		c := Config{DefDomain: test.domain, DomainSep: test.sep}
		if got := c.login(test.user); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
