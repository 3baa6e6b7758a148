package pop3

import (
	"encoding/base64"
	"testing"
)

func TestSCRAMLog(t *testing.T) {
	front().SCRAMLogs(t, map[string]string{"POP3AUTH": "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1"},
		func(mechanism, message string) string {
			return "C: AUTH " + mechanism + " " + base64.StdEncoding.EncodeToString([]byte(message))
		}, "S* -ERR .*")
}
