package idle

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
	"mailproxy/tests/testcert"
)

// setup is one proxy to measure: start runs it in g and returns the address for plain IMAP or, encrypted, for
// IMAPS.
type setup struct {
	name  string
	start func(b *testing.B, g *measure.Group, encrypted bool) (addr string)
}

var setups = []setup{
	{"relayd", startOurs(true)},
	{"resident", startResident(false)},
	{"resident-relayd", startResident(true)},
	{"process", startOurs(false)},
	{"courier", startCourier},
	{"dovecot", startDovecot},
	{"nginx", startNginx},
	{"perdition", startPerdition},
}

// startOurs runs imapd-proxy under couriertcpd, with relayd or without.
func startOurs(relayd bool) func(*testing.B, *measure.Group, bool) string {
	return func(b *testing.B, g *measure.Group, encrypted bool) string {
		env := harness.Env{"IMAP_PROXY": "1"}
		if relayd {
			s := harness.PlainRelayd(b)
			g.Add(b, s.Cmd.Process.Pid)
			env["RELAY_SOCKET"] = s.Socket
		}
		return tcpd(b, g, encrypted, env, harness.PlainBin(b, "imapd-proxy"))
	}
}

// startResident runs imapd-proxy as one process for all, with relayd or with its own engine.
func startResident(relayd bool) func(*testing.B, *measure.Group, bool) string {
	return func(b *testing.B, g *measure.Group, encrypted bool) string {
		socket := ""
		if relayd {
			s := harness.PlainRelayd(b)
			g.Add(b, s.Cmd.Process.Pid)
			socket = s.Socket
		}
		auth := harness.PlainAuthdaemond(b, "authuserdb", nil) // it takes many questions on a connection
		// Most file descriptors are for sessions.
		args := []string{"/usr/bin/env", "-i", "IMAP_PROXY=1", "MAXUNAUTH=100", "RELAY_SOCKET=" + socket,
			"AUTHDAEMON_SOCKET=" + auth.Socket}
		addr, listen := "127.0.1.1:143", "127.0.1.1:143"
		if encrypted {
			addr, listen = "127.0.1.1:993", "tls:127.0.1.1:993"
			args = append(args, "TLS_CERTFILE="+certificate(b))
		}
		args = append(args, harness.PlainBin(b, "imapd-proxy"), "-user", "courier", "-listen", listen)
		return launch(b, g, addr, exec.Command(args[0], args[1:]...))
	}
}

func startCourier(b *testing.B, g *measure.Group, encrypted bool) string {
	program := []string{harness.CourierIMAPLogin}
	env := harness.Env{"IMAP_PROXY": "1"}
	if encrypted {
		program = []string{"/usr/bin/couriertls", "-server", "-tcpd", "-user=courier", harness.CourierIMAPLogin}
	}
	return tcpd(b, g, encrypted, env, program...)
}

func tcpd(b *testing.B, g *measure.Group, encrypted bool, env harness.Env, program ...string) string {
	b.Helper()
	addr, port := "127.0.1.1", 143
	if encrypted {
		port = 993
		env["IMAP_TLS"] = "1"
		env["TLS_CERTFILE"] = certificate(b)
		env["TLS_TRUSTCERTS"] = "" // Courier's best case: without its bundle of authorities
		env["TLS_VERIFYPEER"] = "NONE"
	}
	p := harness.Couriertcpd(b, harness.TCPD{Addr: addr, Port: port, Config: "imapd", Env: env,
		Options: []string{
			"-maxprocs=20000", "-maxperip=20000",
		}, Program: append(program, harness.CourierIMAPD, "Maildir")})
	g.Add(b, p.Cmd.Process.Pid)
	return fmt.Sprintf("%s:%d", addr, port)
}

// certificate makes one for all: RSA, as most servers have, certificate and key in one file that all service
// users may read.
func certificate(b *testing.B) string {
	b.Helper()
	path := harness.NewPKI(b).File(b, "cert.pem", testcert.Spec{Name: "localhost", RSA: true})
	if err := os.Chmod(path, 0o644); err != nil {
		b.Fatal(err)
	}
	return path
}

func write(b *testing.B, text string) string {
	b.Helper()
	path := filepath.Join(harness.Dir(b), "conf")
	harness.WriteFile(b, path, text, 0o644)
	return path
}

func launch(b *testing.B, g *measure.Group, addr string, cmd *exec.Cmd) string {
	b.Helper()
	p := harness.Start(b, g.Command(cmd.Args...))
	if !harness.Eventually(func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	}) {
		b.Fatalf("%s does not listen:\n%s", cmd.Args[0], p.Log)
	}
	return addr
}

// startDovecot runs Dovecot's login processes as a proxy, in their mode for high performance.
func startDovecot(b *testing.B, g *measure.Group, encrypted bool) string {
	dir := harness.Dir(b)
	ssl, cert := "no", ""
	if encrypted {
		c := certificate(b)
		ssl, cert = "yes", fmt.Sprintf("ssl_cert = <%[1]s\nssl_key = <%[1]s\n", c)
	}
	conf := write(b, fmt.Sprintf(`base_dir = %[1]s/base
state_dir = %[1]s/state
log_path = %[1]s/log
instance_name = bench
protocols = imap
listen = 127.0.1.3
ssl = %[2]s
%[3]sdisable_plaintext_auth = no
mail_max_userip_connections = 0
default_client_limit = 19000
default_vsz_limit = 1G
passdb {
  driver = static
  args = proxy=y host=127.0.0.2 port=143 nopassword=y
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/nonexistent
}
service imap-login {
  service_count = 0
  process_min_avail = 2
  process_limit = 2
  client_limit = 9900
  inet_listener imap {
    port = 143
  }
  inet_listener imaps {
    port = 993
    ssl = %[2]s
  }
}
service anvil {
  client_limit = 19000
}
`, dir, ssl, cert))
	addr := "127.0.1.3:143"
	launch(b, g, addr, exec.Command("/usr/sbin/dovecot", "-F", "-c", conf))
	if encrypted {
		addr = "127.0.1.3:993"
	}
	return addr
}

// startNginx runs nginx's mail proxy; its authentication service is here, outside the group.
func startNginx(b *testing.B, g *measure.Group, encrypted bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Auth-Status", "OK")
		w.Header().Set("Auth-Server", "127.0.0.2")
		w.Header().Set("Auth-Port", "143")
	})}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { srv.Close() })
	dir := harness.Dir(b)
	port, cert := 143, ""
	if encrypted {
		c := certificate(b)
		port, cert = 993, fmt.Sprintf("ssl_certificate %[1]s; ssl_certificate_key %[1]s;", c)
	}
	ssl := map[bool]string{true: " ssl"}[encrypted]
	conf := write(b, fmt.Sprintf(`load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
pid %[1]s/pid;
error_log %[1]s/error.log;
worker_processes 2;
worker_rlimit_nofile 19900;
events { worker_connections 19000; }
mail {
  auth_http http://%[2]s/;
  proxy_timeout 24h;
  server { listen 127.0.1.4:%[3]d%[4]s; protocol imap; %[5]s }
}
`, dir, l.Addr(), port, ssl, cert))
	return launch(b, g, fmt.Sprintf("127.0.1.4:%d", port),
		exec.Command("/usr/sbin/nginx", "-p", dir, "-e", dir+"/error.log", "-c", conf))
}

// startPerdition runs perdition's IMAP proxy, a process for each session.
func startPerdition(b *testing.B, g *measure.Group, encrypted bool) string {
	addr := "127.0.1.5:143"
	port, protocol := "143", "IMAP4"
	var ssl []string
	if encrypted {
		c := certificate(b)
		addr, port, protocol = "127.0.1.5:993", "993", "IMAP4S"
		ssl = []string{
			"--ssl_mode", "ssl_listen", "--ssl_cert_file", c, "--ssl_key_file", c,
			"--ssl_no_cn_verify",
		}
	}
	args := append(
		[]string{"-P", protocol, "-s", "127.0.0.2", "-p", "143", "-l", port, "-b", "127.0.1.5", "-F", "-", "-n",
			"--no_daemon", "--pid_file", "", "-f", "/dev/null", "-u", "nobody", "-g", "nogroup",
			"-t", "86400", "--authenticate_timeout", "60"},
		ssl...)
	return launch(b, g, addr, exec.Command("/usr/sbin/perdition.imap4", args...))
}
