package clients

import (
	"encoding/json"
	"testing"
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
if server["TLS"] == "fromstart":
    c = imaplib.IMAP4_SSL(host, int(port), timeout=50, ssl_context=ssl.create_default_context(cafile=server["Trust"]))
else:
    c = imaplib.IMAP4(host, int(port), timeout=50)
if server["TLS"] == "starttls":
    c.starttls(ssl.create_default_context(cafile=server["Trust"]))
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
if server["TLS"] == "fromstart":
    c = poplib.POP3_SSL(host, int(port), timeout=50, context=ssl.create_default_context(cafile=server["Trust"]))
else:
    c = poplib.POP3(host, int(port), timeout=50)
if server["TLS"] == "starttls":
    c.stls(ssl.create_default_context(cafile=server["Trust"]))
c.user(server["User"])
c.pass_(server["Password"])
count, size = c.stat()
for number in range(1, count + 1):
    answer, lines, size = c.retr(number)
    sys.stdout.write("\n".join(line.decode() for line in lines) + "\n")
c.quit()
`
