package resident_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"mailproxy/imapd-proxy/imap"
	"mailproxy/internal/program"
	"mailproxy/internal/resident"
	"mailproxy/pop3d-proxy/pop3"
	"mailproxy/relay/handoff"
)

// Variables for this test binary as a front end.
const (
	faultVariable  = "RESIDENT_TEST_FAULT"  // it is a successor with a fault
	noFileVariable = "RESIDENT_TEST_NOFILE" // its file descriptors
)

// TestMain makes this test binary a front end when it is called so, which a reload does as well.
func TestMain(m *testing.M) {
	resident.CheckFiles()
	if fault := os.Getenv(faultVariable); fault != "" {
		faultySuccessor(fault)
		os.Exit(0)
	}
	if n, err := strconv.ParseUint(os.Getenv(noFileVariable), 10, 64); err == nil {
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n})
	}
	ctx := context.Background()
	switch filepath.Base(os.Args[0]) {
	case "imapd-proxy":
		os.Exit(program.Run(ctx, imap.Program(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	case "pop3d-proxy":
		os.Exit(program.Run(ctx, pop3.Program(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// faultySuccessor behaves like a front end that takes over until it comes to its fault.
func faultySuccessor(fault string) {
	nc, err := net.FileConn(os.NewFile(3, "handoff"))
	if err != nil {
		os.Exit(1)
	}
	c := nc.(*net.UnixConn)
	say := func(verb string) {
		_ = handoff.Send(c, &handoff.Message{Verb: verb, Fields: map[string]string{"VERSION": "2"}})
	}
	await := func(verb string) {
		for {
			m, _, err := handoff.Receive(c)
			if err != nil || m.Verb == verb {
				return
			}
		}
	}
	switch fault {
	case "exits":
		return
	case "silent":
		select {}
	case "says nonsense at once":
		say("SERVING")
		return
	}
	say("READY")
	switch fault {
	case "dies when ready":
	case "hangs when ready":
		select {}
	case "dies at the first session":
		await("MOVE")
	case "dies with all":
		await("END")
	case "says nonsense":
		await("END")
		say("OK")
	case "dies when it holds all":
		await("END")
		say("HELD")
	case "dies before it serves":
		await("END")
		say("HELD")
		await("GO")
	}
}
