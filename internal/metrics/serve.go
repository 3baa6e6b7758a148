// Package metrics writes counters and histograms as Prometheus reads them, and serves them on a listener. The
// listener survives a lack of file descriptors, and does not use them up itself.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"mailproxy/internal/accept"
)

const (
	// scrapeTime is how long a scrape may take, in each direction.
	scrapeTime = 5 * time.Second
	// maxScrapes are served at a time; others wait in the listener's queue.
	maxScrapes = 4
)

// Serve answers every GET on l with what write writes, until ctx ends or its owner closes l, and closes l.
// What goes wrong is one line of log, without a newline.
func Serve(ctx context.Context, l net.Listener, write func(io.Writer), log func(line string)) {
	srv := &http.Server{
		Handler:     handler(write),
		ReadTimeout: scrapeTime, WriteTimeout: scrapeTime,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       errorLog(log),
	}
	srv.SetKeepAlivesEnabled(false)
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	if err := srv.Serve(newPatient(ctx, l, log)); ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		log(fmt.Sprintf("ERR: metrics: %v", err))
	}
}

func handler(write func(io.Writer)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "GET only", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		write(w)
	})
}

// errorLog takes what package net/http has to say, a panic with its stack above all.
func errorLog(line func(string)) *log.Logger {
	return log.New(writerFunc(func(text string) {
		line("WARN: metrics: " + strings.ReplaceAll(strings.TrimSpace(text), "\n", " | "))
	}), "", 0)
}

type writerFunc func(string)

func (f writerFunc) Write(b []byte) (int, error) {
	f(string(b))
	return len(b), nil
}

// patient is a listener that has few connections at a time and goes on after errors.
type patient struct {
	net.Listener
	ctx      context.Context
	log      func(line string)
	slots    chan struct{} // an element for each connection
	failures accept.Failures
}

func newPatient(ctx context.Context, l net.Listener, log func(line string)) *patient {
	return &patient{Listener: l, ctx: ctx, log: log, slots: make(chan struct{}, maxScrapes)}
}

// Accept implements net.Listener. Without file descriptors or memory it waits until there are some again; its
// error means that the listener is closed or the context over.
func (p *patient) Accept() (net.Conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return nil, net.ErrClosed
	}
	for {
		c, err := p.Listener.Accept()
		switch {
		case err == nil:
			return &limited{Conn: c, release: sync.OnceFunc(func() { <-p.slots })}, nil
		case !p.failures.Retry(p.ctx, err, func(err error) { p.log(fmt.Sprintf("ERR: metrics: %v", err)) }):
			<-p.slots
			return nil, net.ErrClosed
		}
	}
}

// limited gives its place back when it is closed.
type limited struct {
	net.Conn
	release func()
}

func (l *limited) Close() error {
	defer l.release()
	return l.Conn.Close()
}
