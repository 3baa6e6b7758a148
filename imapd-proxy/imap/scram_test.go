package imap

import (
	"encoding/base64"
	"testing"
)

const scramCapability = "IMAP4rev1 AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-1"

func TestSCRAMLog(t *testing.T) {
	front().SCRAMLogs(t, map[string]string{"IMAP_CAPABILITY": scramCapability},
		func(mechanism, message string) string {
			return "C: a AUTHENTICATE " + mechanism + " " + base64.StdEncoding.EncodeToString([]byte(message))
		}, "S* a NO .*")
}
