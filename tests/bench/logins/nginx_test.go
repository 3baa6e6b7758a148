package logins

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

const (
	nginxAuthName = "bench-nginx-auth"
	nginxAuthAddr = "127.0.0.1:8143"
)

// startNginx runs nginx's mail proxy with two workers, and its authentication service.
func startNginx(t testing.TB, k kind, addr string) *candidate {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	service := exec.Command(exe)
	service.Args = []string{nginxAuthName}
	auth := launch(t, service, nginxAuthAddr)
	protocol := strings.ToLower(k.Name)
	tls, certificate := "", ""
	if k.tls() {
		tls = " ssl"
		certificate = fmt.Sprintf("ssl_certificate %[1]s; ssl_certificate_key %[1]s;", k.certificate)
	}
	dir := harness.Dir(t)
	conf := write(t, dir, "nginx.conf", fmt.Sprintf(`load_module /usr/lib/nginx/modules/ngx_mail_module.so;
user www-data;
daemon off;
pid %[1]s/pid;
error_log %[1]s/error.log warn;
worker_processes 2;
events { worker_connections 4000; }
mail {
  auth_http http://%[2]s/;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:mail:10m;
  server { listen %[3]s%[4]s; protocol %[5]s; %[6]s }
}
`, dir, nginxAuthAddr, k.at(addr), tls, protocol, certificate))
	p := launch(t, exec.Command("/usr/sbin/nginx", "-p", dir, "-e", dir+"/error.log", "-c", conf), k.at(addr))
	return &candidate{name: "nginx", addr: k.at(addr), trees: []int{p.Cmd.Process.Pid},
		auth: []int{auth.Cmd.Process.Pid}}
}

// runNginxAuth is nginx's authentication service, as cheap as one can be: it compares the password and names
// the mailhost. nginx makes a connection for each question.
func runNginxAuth() int {
	l, err := net.Listen("tcp", nginxAuthAddr)
	for err == nil {
		var conn net.Conn
		if conn, err = l.Accept(); err == nil {
			go func() {
				defer conn.Close()
				_ = answerNginx(conn) // nginx has given up
			}()
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func answerNginx(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 1024)
	asked := map[string]string{}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if name, value, ok := strings.Cut(line, ": "); ok {
			asked[name] = value
		}
	}
	answer := "Auth-Status: Invalid login or password\r\n"
	if asked["Auth-User"] == user && asked["Auth-Pass"] == password {
		port := map[string]string{"imap": "143", "pop3": "110"}[asked["Auth-Protocol"]]
		answer = "Auth-Status: OK\r\nAuth-Server: " + mailhostAddr + "\r\nAuth-Port: " + port + "\r\n"
	}
	_, err := io.WriteString(conn, "HTTP/1.0 200 OK\r\n"+answer+"\r\n")
	return err
}

// launch starts a server of somebody else's with our units' timer slack.
func launch(t testing.TB, cmd *exec.Cmd, addr string) (p *harness.Process) {
	t.Helper()
	measure.WithTimerSlack(t, func() { p = harness.Start(t, cmd) })
	p.WaitListen(t, addr)
	return p
}
