package launch

import (
	"os"
	"strings"
	"testing"
)

// TestListen: what -listen takes, and that an address that is none is named, each on a line of its own.
func TestListen(t *testing.T) {
	for addrs, want := range map[string]string{
		"127.0.0.1:0": "", "tls:127.0.0.1:0": "", "0": "", "tls:0": "", ":0": "",
		"127.0.0.1 tls:localhost": "-listen 127.0.0.1: listen tcp: address 127.0.0.1: missing port in address\n" +
			"-listen tls:localhost: listen tcp: address localhost: missing port in address",
		"65536": "-listen 65536: listen tcp: address 65536: missing port in address",
	} {
		req := Request{Name: "launch-test", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		s, err := Listen(t.Context(), req, strings.Fields(addrs))
		got := ""
		if err != nil {
			got = err.Error()
		} else if s.Listeners[0].TLS != strings.HasPrefix(addrs, prefixTLS) {
			t.Errorf("%s: TLS from the first byte: %v", addrs, s.Listeners[0].TLS)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", addrs, got, want)
		}
		s.Close()
	}
}
