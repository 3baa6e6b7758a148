package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"
)

// encryptions are the connections that relayd encrypts and whose clients have not logged in, by the names that front ends
// give them back with.
type encryptions struct {
	mu    sync.Mutex
	byID  map[string]*encryption
	count int // from the request on
	limit int
}

// enter makes room for one more, if there is.
func (t *encryptions) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count >= t.limit {
		return false
	}
	t.count++
	return true
}

func (t *encryptions) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count--
}

func (t *encryptions) now() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// add gives it a name that cannot be guessed.
func (t *encryptions) add(e *encryption) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID == nil {
		t.byID = map[string]*encryption{}
	}
	e.id = rand.Text()
	t.byID[e.id] = e
}

// put gives back what was taken.
func (t *encryptions) put(es ...*encryption) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range es {
		if e != nil {
			t.byID[e.id] = e
		}
	}
}

// know tells whether all these are ours; an empty name stands for a connection that nobody encrypts.
func (t *encryptions) know(ids ...string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		if id != "" && t.byID[id] == nil {
			return false
		}
	}
	return true
}

// take makes the caller the one who decides what becomes of it; nil: somebody else has, or there is none.
func (t *encryptions) take(id string) *encryption {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byID[id]
	delete(t.byID, id)
	return e
}

// gate bounds the handshakes that are made at once, in all and for one client address. Others wait, for as long as they
// have time.
type gate struct {
	all   chan struct{}
	perIP int

	mu  sync.Mutex
	ips map[string]*turnstile
}

type turnstile struct {
	places chan struct{}
	users  int
}

// Handshakes at once: a slow peer holds its place for as long as its time limit lets it.
const maxHandshakes, maxHandshakesPerIP = 512, 32

func newGate(all, perIP int) *gate {
	return &gate{all: make(chan struct{}, all), perIP: perIP, ips: map[string]*turnstile{}}
}

// enter waits for a turn. The function returned ends it.
func (g *gate) enter(ctx context.Context, ip string) (leave func(), err error) {
	ip = network(ip)
	g.mu.Lock()
	t := g.ips[ip]
	if t == nil {
		t = &turnstile{places: make(chan struct{}, g.perIP)}
		g.ips[ip] = t
	}
	t.users++
	g.mu.Unlock()
	forget := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(g.ips, ip)
		}
	}
	select {
	case t.places <- struct{}{}:
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	}
	select {
	case g.all <- struct{}{}:
		return func() { <-g.all; <-t.places; forget() }, nil
	case <-ctx.Done():
		<-t.places
		forget()
		return nil, ctx.Err()
	}
}

// network is what one client can be expected to have: an IPv4 address, or the /64 of an IPv6 address.
func network(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	p, _ := a.WithZone("").Prefix(64)
	return p.String()
}

// Results of handshakes.
const (
	made = iota
	resumed
	failed
	unable
	handshakeResults
)

var handshakeNames = [handshakeResults]string{"ok", "resumed", "failed", "unable"}

// handshakes counts.
type handshakes struct {
	mu     sync.Mutex
	counts [handshakeResults]int64
	times  histogram
}

func (h *handshakes) count(result int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[result]++
}

func (h *handshakes) made(state *tls.ConnectionState) {
	if state.DidResume {
		h.count(resumed)
	} else {
		h.count(made)
	}
}

func (h *handshakes) took(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.times.add(d)
}

// total is the number of handshakes that there have been.
func (h *handshakes) total() (n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.counts {
		n += c
	}
	return n
}

func (h *handshakes) write(w io.Writer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	head(w, "mailproxy_tls_handshakes_total", "counter", "TLS handshakes made for front ends, by result.")
	for i, name := range handshakeNames {
		fmt.Fprintf(w, "mailproxy_tls_handshakes_total{result=%q} %d\n", name, h.counts[i])
	}
	head(w, "mailproxy_tls_handshake_seconds", "histogram", "Time of TLS handshakes that succeeded, with the peer's part.")
	h.times.write(w, "mailproxy_tls_handshake_seconds", "")
}
