package unixsocket_test

import (
	"fmt"
	"os"
	"testing"
)

// socketVariable makes this test binary a service that makes the socket named, and says what came of it.
const socketVariable = "UNIXSOCKET_TEST"

func TestMain(m *testing.M) {
	if path := os.Getenv(socketVariable); path != "" {
		l, err := stream(path, true).Listen()
		if err != nil {
			fmt.Println(err)
			os.Exit(0)
		}
		l.Close()
		l.Remove()
		fmt.Println("made")
		os.Exit(0)
	}
	os.Exit(m.Run())
}
