package clients

import (
	"encoding/json"
	"testing"

	"mailproxy/tests/harness"
)

// python runs a program of a Python library; it reads the Server as JSON from its standard input.
func python(name, program string) func(testing.TB, string, Server) (string, error) {
	return func(t testing.TB, dir string, s Server) (string, error) {
		stdin, err := json.Marshal(s)
		if err != nil {
			return "", err
		}
		return run(dir, string(stdin), "/usr/bin/python3", configure(t, dir, name+"_client.py", program))
	}
}

const imaplibProgram = `
import imaplib, json, ssl, sys

server = json.load(sys.stdin)
host, port = server["IMAP"].rsplit(":", 1)
trust = ssl.create_default_context(cafile=server["Trust"])
if server["TLS"] == "fromstart":
    c = imaplib.IMAP4_SSL(host, int(port), timeout=50, ssl_context=trust)
else:
    c = imaplib.IMAP4(host, int(port), timeout=50)
if server["TLS"] == "starttls":
    c.starttls(trust)
c.login(server["User"], server["Password"])
c.select("INBOX", readonly=True)
ok, numbers = c.search(None, "ALL")
assert ok == "OK", numbers
for number in numbers[0].split():
    ok, parts = c.fetch(number, "(BODY.PEEK[])")
    assert ok == "OK", parts
    sys.stdout.write(parts[0][1].decode())
c.logout()
`

const poplibProgram = `
import json, poplib, ssl, sys

server = json.load(sys.stdin)
host, port = server["POP3"].rsplit(":", 1)
trust = ssl.create_default_context(cafile=server["Trust"])
if server["TLS"] == "fromstart":
    c = poplib.POP3_SSL(host, int(port), timeout=50, context=trust)
else:
    c = poplib.POP3(host, int(port), timeout=50)
if server["TLS"] == "starttls":
    c.stls(trust)
c.user(server["User"])
c.pass_(server["Password"])
count, size = c.stat()
for number in range(1, count + 1):
    answer, lines, size = c.retr(number)
    sys.stdout.write("\n".join(line.decode() for line in lines) + "\n")
c.quit()
`

// UTF8 has Python's poplib say UTF8 where CAPA offers it, and log in. It returns what the library says.
func UTF8(t testing.TB, s Server) (string, error) {
	t.Helper()
	return python("poplib-utf8", poplibUTF8Program)(t, harness.Dir(t), s)
}

const poplibUTF8Program = `
import json, poplib, sys

server = json.load(sys.stdin)
host, port = server["POP3"].rsplit(":", 1)
c = poplib.POP3(host, int(port), timeout=50)
if "UTF8" in c.capa():
    sys.stdout.write(c.utf8().decode() + "\n")
c.user(server["User"])
c.pass_(server["Password"])
sys.stdout.write(str(c.stat()) + "\n")
c.quit()
`
