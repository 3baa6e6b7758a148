package check

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"mailproxy/authlib"
	"mailproxy/imapd-proxy/imap"
	"mailproxy/internal/frontend"
	"mailproxy/pop3d-proxy/pop3"
	"mailproxy/tests/testport"
	"mailproxy/tests/transcript"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden runs check on broken and on good set-ups. Each file of testdata is an archive with these parts,
// all but the first and the last optional:
//
//	settings      NAME=value lines, or a configuration file when it begins with #config
//	protocol      IMAP unless it says POP3
//	json          ask for it
//	server        names for -server
//	user          the account to follow
//	password      what is typed
//	accounts      as the auth module answers PRE, after a line with the name; an answer "closed" is none;
//	              without the part there is no auth module
//	authdaemond   a script in place of the program
//	certificates  see certificates
//	touch         names of files that hold nothing of use
//	mailhost      a transcript, played as the server for one connection; without it nobody listens
//	own-port      the mailhost's port is the protocol's own
//	want          what check writes
//
// ${MAILHOST} is the mailhost's address and port, ${DIR} a directory of the test's own, with a maildir in
// ${DIR}/home.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, f := range archive.Files {
		sections[f.Name] = string(f.Data)
	}
	dir := t.TempDir()
	for _, sub := range []string{"home/Maildir/cur", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	certificates(t, dir, sections["certificates"])
	for f := range strings.FieldsSeq(sections["touch"]) {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("no table"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script, listens := sections["mailhost"]
	host := listenAs(t, script, listens)
	expand := strings.NewReplacer("${MAILHOST}", host, "${DIR}", dir).Replace
	environ := []string{"AUTHDAEMON_SOCKET=" + authModule(t, sections, expand)}
	if strings.HasPrefix(sections["settings"], "#config") {
		if err := os.WriteFile(filepath.Join(dir, "imapd"), []byte(expand(sections["settings"])),
			0o600); err != nil {
			t.Fatal(err)
		}
	} else {
		environ = append(environ, strings.Fields(expand(sections["settings"]))...)
	}
	var args []string
	if _, err := os.Stat(filepath.Join(dir, "imapd")); err == nil {
		args = append(args, "-config", filepath.Join(dir, "imapd"))
	}
	if sections["json"] != "" {
		args = append(args, "--json")
	}
	if user := strings.TrimSpace(sections["user"]); user != "" {
		args = append(args, user)
	}
	p := program(strings.TrimSpace(sections["protocol"]))
	if _, ok := sections["own-port"]; ok {
		_, p.Protocol.Port, _ = net.SplitHostPort(host)
	}
	if text, ok := sections["authdaemond"]; ok {
		program := filepath.Join(dir, "authdaemond")
		if err := os.WriteFile(program, []byte(expand(text)), 0o700); err != nil {
			t.Fatal(err)
		}
		environ = append(environ, "AUTHDAEMON_PROGRAM="+program)
	}
	for server := range strings.FieldsSeq(sections["server"]) {
		args = append([]string{"-server", server}, args...)
	}
	status, got := runCommand(t, p, args, environ, sections["password"])
	got = normalise(got, host, dir)
	got += fmt.Sprintf("exit status %d\n", status)
	if strings.Contains(got, "secrethash") {
		t.Errorf("a hash is shown:\n%s", got)
	}
	if *update {
		for i := range archive.Files {
			if archive.Files[i].Name == "want" {
				archive.Files[i].Data = []byte(got)
			}
		}
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(sections["want"], got); d != "" {
		t.Error(d)
	}
}

// normalise takes out what differs from run to run.
func normalise(text, host, dir string) string {
	_, port, _ := net.SplitHostPort(host)
	text = strings.NewReplacer(host, "MAILHOST", dir, "DIR", ":"+port, ":PORT").Replace(text)
	text = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`).ReplaceAllString(text, "DATE")
	text = regexp.MustCompile(`in \d+ ms`).ReplaceAllString(text, "in N ms")
	return regexp.MustCompile(`[\w/.-]*auth\.socket`).ReplaceAllString(text, "SOCKET")
}

// TestNoSettings: who names no file is told how, as the program hardly ever runs with nothing but defaults.
func TestNoSettings(t *testing.T) {
	const want = "warn  settings     no -config FILE and no setting in the environment: "
	if _, got := runCommand(t, program("POP3"), nil, nil, ""); !strings.HasPrefix(got, want) ||
		!strings.Contains(got, " -config /etc/mailproxy/pop3d -config /etc/mailproxy/pop3d-ssl\n") {
		t.Errorf("%s", got)
	}
}

// program is a front end whose capabilities are those of its settings, or of a short list.
func program(protocol string) *frontend.Program {
	if protocol == "POP3" {
		p := pop3.Program()
		p.Protocol.NewDialogue = func(*frontend.Conn) frontend.Dialogue {
			return advertising{list: []string{"TOP", "UIDL", "PIPELINING", "USER"}}
		}
		return p
	}
	p := imap.Program()
	p.Protocol.NewDialogue = func(c *frontend.Conn) frontend.Dialogue {
		return advertising{list: strings.Fields(c.Config.IMAP.Capability)}
	}
	return p
}

// advertising is a dialogue of which nothing matters but its capabilities.
type advertising struct {
	frontend.Dialogue
	list []string
}

func (a advertising) Capabilities() []string { return a.list }

func runCommand(t *testing.T, p *frontend.Program, args, environ []string, password string) (int,
	string) {
	t.Helper()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := io.WriteString(feed, password); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	status := Command(t.Context(), p, args, environ, in, out, out)
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return status, string(text)
}

// listenAs listens and plays the script on one connection. Without a script it returns an address where
// nobody is.
func listenAs(t *testing.T, script string, listens bool) string {
	t.Helper()
	if !listens {
		return testport.Reserve(t)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	scripts := transcript.MustParse(t, script)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := &transcript.Runner{Conn: conn, As: transcript.Server}
		for _, s := range scripts {
			if err := r.Play(s); err != nil {
				t.Error(err)
			}
		}
	}()
	return l.Addr().String()
}

// authModule answers PRE and AUTH from the accounts section; the password is always "secret". Every module
// but authuserdb knows nobody. Without the section nobody listens.
func authModule(t *testing.T, sections map[string]string, expand func(string) string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "check")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "auth.socket")
	accounts, ok := sections["accounts"]
	if !ok {
		return path
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	known := map[string]string{}
	for block := range strings.SplitSeq(expand(accounts), "\n\n") {
		name, answer, _ := strings.Cut(strings.TrimSpace(block), "\n")
		known[name] = answer + "\n.\n"
		if answer == "closed" {
			known[name] = ""
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			req, err := authlib.ReadRequest(conn)
			answer := authlib.AnswerFail
			switch req := req.(type) {
			case *authlib.LookupRequest:
				// An answer from memory may be an old one.
				if a, ok := known[req.User]; ok && req.Fresh && (req.Module == "" || req.Module == "authuserdb") {
					answer = a
				}
			case *authlib.AuthRequest:
				if a, ok := known[req.User]; ok && req.Fresh && req.Password == "secret" {
					answer = a
				}
			}
			if err == nil {
				_, _ = io.WriteString(conn, answer)
			}
			conn.Close()
		}
	}()
	return path
}

// Wrong usage is told apart from what is wrong with a set-up.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"ann", "bob"}, {"--jsn"}, {"-config"}} {
		if status, out := runCommand(t, program("IMAP"), args, nil, ""); status != 100 || out == "" {
			t.Errorf("%q: exit status %d, %q", args, status, out)
		}
	}
	if status, out := runCommand(t, program("IMAP"), []string{"-h"}, nil, ""); status != 0 || out == "" {
		t.Errorf("-h: exit status %d, %q", status, out)
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"PROXY_TLS_VERIFYPER": "PROXY_TLS_VERIFYPEER", "IMAP_PROXI": "IMAP_PROXY",
		"PROXY_HOTSNAME": "PROXY_HOSTNAME",
		"HOME":           "", "PATH": "", "LANGUAGE": "", "OUTBOXES": "", "DEFDOMIAN": "DEFDOMAIN",
	} {
		if got := nearest(name); got != want {
			t.Errorf("nearest(%s) = %q, want %q", name, got, want)
		}
	}
}

func TestVisible(t *testing.T) {
	var b bytes.Buffer
	r := &report{out: &b}
	r.ok("greeting", "%s", "* OK \x1b[2Jgone\u009b")
	if got := b.String(); strings.ContainsAny(got, "\x1b\u009b") {
		t.Errorf("control characters reach the terminal: %q", got)
	}
}
