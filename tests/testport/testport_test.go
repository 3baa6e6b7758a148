package testport

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func TestReserve(t *testing.T) {
	first, second := Reserve(t), Reserve(t)
	if first == second {
		t.Fatalf("the same address twice: %s", first)
	}
	if c, err := net.Dial("tcp", first); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("a connection to %s: %v, %v", first, c, err)
	}
	// A program of the test may listen there, and after it another.
	for range 2 {
		l, err := net.Listen("tcp", first)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", first)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
}
