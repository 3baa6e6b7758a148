package main

import (
	"fmt"
	"testing"

	"mailproxy/relay"
	"mailproxy/relay/handoff"
	"mailproxy/tests/relaytest"
)

// TestKeptThroughReloads: a program that keeps its connections to relayd hands sessions over before and
// after each reload, and they all go on.
func TestKeptThroughReloads(t *testing.T) {
	p := startProcess(t)
	c := &handoff.Client{Socket: p.socket, Keep: 4}
	defer c.Close()
	var far [][2]relaytest.Conn
	kinds := append(relaytest.TLSKinds()[:1], relaytest.Kinds()[0])
	for round := range 3 {
		for i := range 6 {
			nc, fc := kinds[i%len(kinds)].Make(t)
			nm, fm := relaytest.TCP(t, 0)
			s := &relay.Session{Client: nc, Mailhost: nm, Info: info(fmt.Sprint("user", len(far)))}
			if err := c.Carry(t.Context(), s); err != nil {
				t.Fatalf("round %d, session %d: %v", round, i, err)
			}
			far = append(far, [2]relaytest.Conn{fc, fm})
		}
		p.reload()
	}
	for _, x := range far {
		relaytest.Exchange(t, x[0], x[1])
		relaytest.Exchange(t, x[1], x[0])
	}
}
