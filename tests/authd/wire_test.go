package authd

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"mailproxy/tests/harness"
)

// raw sends bytes to the daemon and returns all that it answers.
func raw(t *testing.T, request string) string {
	t.Helper()
	c, err := net.Dial("unix", harness.CourierAuthSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// TestEqualBytes sends both daemons the same bytes, under the same authdaemonrc, written as the shell allows.
func TestEqualBytes(t *testing.T) {
	const userdb = "ann\tuid=1000|gid=1000|home=/home/ann|mail=M|defaultdelivery=./Inbox/|courierpw={SHA}x\n" +
		"two  words\tuid=1000|gid=1000|home=/home/two\n bob\tuid=1000|gid=1000|home=/home/bob\n"
	var requests []string
	for _, service := range []string{"imap", "courier", "esmtp"} {
		for _, format := range []string{
			"PRE . %s ann\n", "PRE .  %s  ann\n", "PRE   .    %s    ann\n", "PRE  authuserdb   %s ann\n",
			"PRE . %s two  words\n", "PRE . %s   two  words\n", "PRE . %s two words\n", "PRE . %s  bob\n",
			"PRE . %s ann \n",
		} {
			requests = append(requests, fmt.Sprintf(format, service))
		}
	}
	requests = append(requests, "PRE . imap \n", "PRE . imap\n", "PRE .\n", "PRE . \n", "PRE  \n")
	for _, rc := range []string{
		"authmodulelist=\"authuserdb\"\ndaemons=5\nDEFAULTOPTIONS=\"disableimap=1,wbnodsn=1\"   # a comment\n",
		// Courier's daemon reads these two by itself, and does not take all that the shell takes.
		"authmodulelist=\"authuserdb\"\ndaemons=3 # three\nX=wbnodsn\nDEFAULTOPTIONS=\"$X=1\",'disableimap'=1\n",
	} {
		rc += "authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\n"
		ask := func() (answers []string) {
			for _, r := range requests {
				answers = append(answers, raw(t, r))
			}
			return answers
		}
		harness.UserdbText(t, userdb)
		harness.Run(t, "", "/usr/sbin/makeuserdb")
		courier := harness.CourierAuthdaemondText(t, rc)
		theirs := ask()
		courier.Stop()
		harness.WriteFile(t, "/etc/courier/authdaemonrc", rc, 0o660)
		own := daemon(t, harness.Bin(t, "authdaemond"))
		for i, ours := range ask() {
			if theirs[i] != ours {
				t.Errorf("%q:\n Courier %q\n    ours %q", requests[i], theirs[i], ours)
			}
		}
		own.Stop()
	}
}
