package tls

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/xdg-go/scram"
)

// bound logs in by SCRAM-SHA-256-PLUS with both channel bindings, over connections that begin a session and
// such as resume one; where the binding is another connection's it is refused.
func bound(t *testing.T, addr, user, password string) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, port := range []string{"993", "995"} {
			tickets := tls.NewLRUClientSessionCache(1)
			for i, kind := range []scram.ChannelBindingType{
				scram.ChannelBindingTLSServerEndpoint, scram.ChannelBindingTLSServerEndpoint,
				scram.ChannelBindingTLSExporter, "wrong",
			} {
				t.Run(fmt.Sprintf("bound/%s/%s/%s/%d", tls.VersionName(version), port, kind, i), func(t *testing.T) {
					r, conn := dialTLS(t, addr+":"+port, &tls.Config{InsecureSkipVerify: true, ServerName: "proxy.example",
						MinVersion: version, MaxVersion: version, ClientSessionCache: tickets})
					state := conn.ConnectionState()
					if state.DidResume != (i > 0) {
						t.Errorf("connection %d resumes a session: %v", i, state.DidResume)
					}
					r.Funcs = scramPlus(t, user, password, bindingOf(t, &state, kind))
					begin, end := "S* \\* OK .*\nC: a AUTHENTICATE SCRAM-SHA-256-PLUS\n",
						"S~ \\+ .*\nC:\nS~ a OK .*\nC: b EXAMINE INBOX\nS* \\* 1 EXISTS\n"
					refused := "S~ a NO \\[CONTACTADMIN\\] .*"
					if port == "995" {
						begin, end = "S* \\+OK .*\nC: AUTH SCRAM-SHA-256-PLUS\n",
							"S~ \\+ .*\nC:\nS~ \\+OK .*\nC: STAT\nS~ \\+OK 1 .*"
						refused = "S~ -ERR \\[SYS/PERM\\] .*"
					}
					if kind == "wrong" {
						end = refused
					}
					r.MustPlay(t, begin+"S= \"+ \\r\\n\"\nC: ${first}\nS~ \\+ (?P<chal>\\S+)\nC: ${final}\n"+end)
					conn.Close()
				})
			}
		}
	}
}

// bindingOf is what a client takes for the binding of its connection.
func bindingOf(t *testing.T, state *tls.ConnectionState, kind scram.ChannelBindingType) scram.ChannelBinding {
	t.Helper()
	switch kind {
	case scram.ChannelBindingTLSExporter:
		data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			t.Fatal(err)
		}
		return scram.ChannelBinding{Type: kind, Data: data}
	case scram.ChannelBindingTLSServerEndpoint:
		sum := sha256.Sum256(state.PeerCertificates[0].Raw) // the authority signs with SHA-256
		return scram.ChannelBinding{Type: kind, Data: sum[:]}
	}
	sum := sha256.Sum256([]byte("another certificate"))
	return scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: sum[:]}
}

// scramPlus are a client's messages in base64.
func scramPlus(
	t *testing.T, user, password string, binding scram.ChannelBinding,
) map[string]func(vars map[string]string) (string, error) {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	conversation := client.NewConversationWithChannelBinding(binding)
	step := func(challenge string) (string, error) {
		message, err := conversation.Step(challenge)
		return base64.StdEncoding.EncodeToString([]byte(message)), err
	}
	return map[string]func(vars map[string]string) (string, error){
		"first": func(map[string]string) (string, error) { return step("") },
		"final": func(vars map[string]string) (string, error) {
			challenge, err := base64.StdEncoding.DecodeString(vars["chal"])
			if err != nil {
				return "", err
			}
			return step(string(challenge))
		},
	}
}
