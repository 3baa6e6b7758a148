package launch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailproxy/tests/harness"
)

// A program with settings that it does not understand serves nobody: the client is told that it is not its
// fault, and the log names each line and value.
func TestEveryBadSettingIsNamed(t *testing.T) {
	for _, s := range sides {
		file := filepath.Join(harness.Dir(t), s.Config)
		harness.WriteFile(t, file,
			"LOGIN_TIMEOUT=60\nHAPROXY=perhaps\n\nexport PORT\n"+s.Name+"_TLS_REQUIRED=always\n", 0o644)
		command := exec.Command(harness.Bin(t, s.Program), "-config", file, "/bin/false", "Maildir")
		command.Env = []string{s.Name + "_PROXY=maybe", "GORACE=" + os.Getenv("GORACE")}
		var out, log bytes.Buffer
		command.Stdin, command.Stdout, command.Stderr = strings.NewReader(""), &out, &log
		if err := command.Run(); command.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: %v", s.Program, err)
		}
		const must = `must be yes, no, true, false, on, off, 1 or 0`
		want := "CRIT: " + file + ":4: only NAME=value is understood here\n" +
			"CRIT: environment: " + s.Name + `_PROXY="maybe": ` + must + "\n" +
			"CRIT: " + file + `:2: HAPROXY="perhaps": ` + must + "\n" +
			"CRIT: " + file + ":5: " + s.Name + `_TLS_REQUIRED="always": ` + must + "\n"
		if log.String() != want {
			t.Errorf("log:\n%swant:\n%s", &log, want)
		}
		told := map[string]string{"IMAP": "* BYE ", "POP3": "-ERR "}[s.Name]
		if got := out.String(); !strings.HasPrefix(got, told) || strings.Count(got, "\n") != 1 {
			t.Errorf("the client reads %q", got)
		}
	}
}
