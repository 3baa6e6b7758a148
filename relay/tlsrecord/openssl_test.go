package tlsrecord_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mailproxy/relay"
	"mailproxy/relay/engine"
	"mailproxy/relay/tlsrecord"
	"mailproxy/tests/relaytest"
)

// TestOpenSSL: OpenSSL's client talks to an echo through a detached connection, with every cipher suite,
// and changes its keys and asks us to change ours (K) or only its own (k).
func TestOpenSSL(t *testing.T) {
	for _, args := range []string{
		"-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256", "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384",
		"-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
		"-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305",
	} {
		t.Run(args, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go echo(t, l)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, "openssl", append([]string{"s_client", "-connect", l.Addr().String()},
				strings.Fields(args)...)...)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			say := func(text string) {
				fmt.Fprintln(in, text)
				for lines.Scan() {
					if lines.Text() == text {
						return
					}
				}
				t.Fatalf("%q does not come back", text)
			}
			say("one")
			for i, command := range []string{"K", "k", "K"} {
				if strings.HasPrefix(args, "-tls1_3") {
					fmt.Fprintln(in, command)
					// s_client takes a letter for a command only if no more text comes with it; it does not say when it
					// has read it.
					time.Sleep(50 * time.Millisecond)
				}
				say(fmt.Sprintf("after %d", i))
				say(strings.Repeat("long ", 2000) + fmt.Sprint(i))
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// echo serves one TLS connection through an engine.
func echo(t *testing.T, l net.Listener) {
	conn, err := l.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	s := tlsrecord.Server(conn, &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate(t)}})
	if err := s.Handshake(); err != nil {
		t.Error(err)
		return
	}
	if err := s.CanDetach(); err != nil {
		t.Error(err)
	}
	near, far := relaytest.Unix(t, 0)
	go func() {
		_, _ = io.Copy(far, far)
		_ = far.CloseWrite()
	}()
	e, err := engine.New(engine.Config{})
	if err != nil {
		t.Error(err)
		return
	}
	defer e.Shutdown(context.Background())
	if err := e.Carry(context.Background(), &relay.Session{Client: s, Mailhost: near}); err != nil {
		t.Error(err)
	}
	if err := e.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}
