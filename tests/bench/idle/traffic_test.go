package idle

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"mailproxy/tests/bench/mailhost"
	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

// world starts what every set-up needs and the set-up itself.
func world(b *testing.B, s setup, encrypted bool) (g *measure.Group, addr string) {
	b.Helper()
	mailhost.RaiseLimit()
	congestion(b)
	harness.Userdb(b, harness.Account{Name: "ann", Password: "secret", Options: "mailhost=127.0.0.2"})
	harness.CourierAuthdaemond(b, "authuserdb", nil)
	mailhost.Start(b, mailhostAddr)
	g = measure.NewGroup(b)
	return g, s.start(b, g, encrypted)
}

// congestion sets the congestion control of the namespace's connections to IDLE_CONGESTION. Without it they
// have the system's.
func congestion(b *testing.B) {
	b.Helper()
	name := os.Getenv("IDLE_CONGESTION")
	if name == "" {
		return
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte(name), 0); err != nil {
		b.Fatal(err)
	}
}

const (
	bulk  = 1 << 30        // bytes of one transfer
	piece = mailhost.Piece // what client and mailhost read and write at once: the same in both directions
)

// BenchmarkBulk: CPU time of the proxy for a GiB to the client, and for one from it.
func BenchmarkBulk(b *testing.B) {
	for _, s := range chosen() {
		for _, encrypted := range []bool{false, true} {
			b.Run(s.name+"/"+kind(encrypted), func(b *testing.B) {
				g, addr := world(b, s, encrypted)
				var down, up []float64
				for b.Loop() {
					c, err := login(addr, encrypted)
					if err != nil {
						b.Fatal(err)
					}
					cpu := g.Seconds(b)
					if err := c.download(bulk); err != nil {
						b.Fatal(err)
					}
					down = append(down, g.Seconds(b)-cpu)
					cpu = g.Seconds(b)
					if err := c.upload(bulk); err != nil {
						b.Fatal(err)
					}
					up = append(up, g.Seconds(b)-cpu)
					c.Close()
				}
				b.ReportMetric(measure.Median(down), "s-CPU/GiB-down")
				b.ReportMetric(measure.Median(up), "s-CPU/GiB-up")
			})
		}
	}
}

func (c *client) download(n int) error {
	_ = c.SetDeadline(time.Now().Add(3 * time.Minute))
	if _, err := fmt.Fprintf(c, "a BULK %d\r\n", n); err != nil {
		return err
	}
	held := min(c.r.Buffered(), n)
	_, _ = c.r.Discard(held)
	buf := make([]byte, piece)
	for left := n - held; left > 0; {
		k, err := c.Read(buf[:min(left, len(buf))])
		if err != nil {
			return err
		}
		left -= k
	}
	return c.answered()
}

func (c *client) upload(n int) error {
	_ = c.SetDeadline(time.Now().Add(3 * time.Minute))
	if _, err := fmt.Fprintf(c, "a SINK %d\r\n", n); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{c}, io.LimitReader(zeros{}, int64(n)),
		make([]byte, piece)); err != nil {
		return err
	}
	return c.answered()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// BenchmarkLatency: the round trip of a NOOP while nobody else is there, and beside as many idle sessions as
// file descriptors allow.
func BenchmarkLatency(b *testing.B) {
	for _, encrypted := range []bool{false, true} {
		for _, n := range numbers(0, 9500) {
			b.Run(fmt.Sprintf("relayd/%s/idle=%d", kind(encrypted), n), func(b *testing.B) {
				_, addr := world(b, setups[0], encrypted)
				var c crowd
				defer func() { c.close() }()
				c.grow(b, n, addr, encrypted)
				x, err := login(addr, encrypted)
				if err != nil {
					b.Fatal(err)
				}
				defer x.Close()
				time.Sleep(
					settle) // until what gives memory back when idle has done so: the pause belongs to the measurement
				var times []float64
				for b.Loop() {
					for range 5000 {
						start := time.Now()
						if err := x.command("NOOP"); err != nil {
							b.Fatal(err)
						}
						times = append(times, float64(time.Since(start))/1e3)
					}
				}
				slices.Sort(times)
				b.ReportMetric(times[len(times)/2], "µs-median")
				b.ReportMetric(times[len(times)*99/100], "µs-p99")
			})
		}
	}
}

// BenchmarkActive: sessions that all send one NOOP after the other.
func BenchmarkActive(b *testing.B) {
	for _, s := range chosen() {
		for _, encrypted := range []bool{false, true} {
			for _, n := range numbers(2000) {
				b.Run(fmt.Sprintf("%s/%s/N=%d", s.name, kind(encrypted), n), func(b *testing.B) {
					g, addr := world(b, s, encrypted)
					var c crowd
					defer func() { c.close() }()
					c.grow(b, n, addr, encrypted)
					var wg sync.WaitGroup
					var mu sync.Mutex
					failed, total := error(nil), 0
					cpu, start := g.Seconds(b), time.Now()
					for b.Loop() {
						for _, x := range c {
							wg.Go(func() {
								var err error
								k := 0
								for ; k < 20 && err == nil; k++ {
									err = x.command("NOOP")
								}
								mu.Lock()
								defer mu.Unlock()
								total += k
								if err != nil {
									failed = err
								}
							})
						}
						wg.Wait()
					}
					if failed != nil {
						b.Fatal(failed)
					}
					b.ReportMetric(float64(total)/time.Since(start).Seconds(), "round-trips/s")
					b.ReportMetric((g.Seconds(b)-cpu)/float64(total)*1e6, "µs-CPU/round-trip")
				})
			}
		}
	}
}
