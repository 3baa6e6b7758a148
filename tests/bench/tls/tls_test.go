package tls

import (
	"crypto/tls"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailproxy/tests/bench/measure"
	"mailproxy/tests/harness"
)

const (
	rounds     = 3
	perRound   = 40  // logins
	idle       = 40  // sessions
	idleRelayd = 600 // sessions, of which each costs little
	megabytes  = 512 // a transfer
	idleSettle = 2 * time.Second
	relaydRest = 5 * time.Second // until relayd has given everything back
)

// BenchmarkLogin is the CPU of a proxied login with a full handshake, and the time to the greeting.
func BenchmarkLogin(b *testing.B) {
	for _, kind := range []string{"RSA", "ECDSA"} {
		for version, number := range map[string]uint16{"1.3": tls.VersionTLS13, "1.2": tls.VersionTLS12} {
			b.Run(kind+"/TLS"+version, func(b *testing.B) {
				sides := world(b, kind == "RSA", false)
				cpu, greeting := map[string][]float64{}, map[string][]float64{}
				for range rounds {
					for _, s := range sides {
						before := s.cpu(b)
						for range perRound {
							c, _, g := s.login(b, &tls.Config{InsecureSkipVerify: true, MinVersion: number, MaxVersion: number})
							s.logout(c)
							greeting[s.name] = append(greeting[s.name], float64(g)/1e6)
						}
						s.settled(b)
						cpu[s.name] = append(cpu[s.name], float64(s.cpu(b)-before)/1e6/perRound)
					}
				}
				for b.Loop() {
				}
				report(b, "cpu-ms", sides, cpu)
				for _, s := range sides {
					b.ReportMetric(median(greeting[s.name]), s.name+"-greeting-ms")
				}
			})
		}
	}
}

// resumer is a client that resumes sessions by ticket and by session ID, which Courier uses.
const resumer = `
import socket, ssl, sys
addr, count, version = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ctx = ssl.create_default_context()
ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
if version == "1.2":
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
session, reused = None, 0
for i in range(count):
    s = ctx.wrap_socket(socket.create_connection((addr, 993)), session=session)
    f = s.makefile("rwb")
    f.readline()
    f.write(b"a LOGIN u pw\r\n"); f.flush(); f.readline()
    f.write(b"z LOGOUT\r\n"); f.flush(); f.read()
    reused += s.session_reused
    session = s.session or session
    s.close()
print(reused)
`

// BenchmarkResumedLogin is the CPU of a proxied login that resumes an earlier session of another process.
func BenchmarkResumedLogin(b *testing.B) {
	for _, version := range []string{"1.3", "1.2"} {
		b.Run("TLS"+version, func(b *testing.B) {
			sides := world(b, true, true)
			script := filepath.Join(harness.Dir(b), "resumer.py")
			harness.WriteFile(b, script, resumer, 0o600)
			cpu, share := map[string][]float64{}, map[string][]float64{}
			for range rounds {
				for _, s := range sides {
					before := s.cpu(b)
					out := harness.Run(b, "", "/usr/bin/python3", script, s.addr, strconv.Itoa(perRound), version)
					s.settled(b)
					cpu[s.name] = append(cpu[s.name], float64(s.cpu(b)-before)/1e6/perRound)
					n, _ := strconv.Atoi(strings.TrimSpace(out))
					share[s.name] = append(share[s.name], float64(n)/perRound)
				}
			}
			for b.Loop() {
			}
			report(b, "cpu-ms", sides, cpu)
			for _, s := range sides {
				b.ReportMetric(median(share[s.name]), s.name+"-resumed")
			}
		})
	}
}

// BenchmarkIdle is the private memory of an idle session, after the login and after some mail has been read.
func BenchmarkIdle(b *testing.B) {
	sides := world(b, true, false)
	fresh, used := map[string][]float64{}, map[string][]float64{}
	for _, s := range sides {
		s.warm(b)
		var sessions []*tls.Conn
		for range s.idle {
			c, _, _ := s.login(b, &tls.Config{InsecureSkipVerify: true})
			sessions = append(sessions, c)
		}
		s.rest()
		fresh[s.name] = []float64{s.private(b) / float64(s.idle)}
		for _, c := range sessions {
			fmt.Fprintf(c, "x BULK %d\r\n", 1<<20)
			if _, err := io.CopyN(io.Discard, c, 1<<20); err != nil {
				b.Fatal(err)
			}
		}
		s.rest()
		used[s.name] = []float64{s.private(b) / float64(s.idle)}
		for _, c := range sessions {
			s.logout(c)
		}
		s.settled(b)
	}
	for b.Loop() {
	}
	report(b, "KiB", sides, fresh)
	for _, s := range sides {
		b.ReportMetric(used[s.name][0], s.name+"-used-KiB")
	}
}

// warm has relayd serve some sessions, and notes what it needs when they are gone: code that it has run once
// is no session's.
func (s *side) warm(b *testing.B) {
	b.Helper()
	if s.relayd == nil {
		return
	}
	for range perRound {
		c, _, _ := s.login(b, &tls.Config{InsecureSkipVerify: true})
		s.logout(c)
	}
	s.rest()
	s.empty = measure.PrivateKiB(b, s.relayd.Cmd.Process.Pid)
}

// rest waits until idle sessions have given back what they can.
func (s *side) rest() {
	if s.relayd != nil {
		time.Sleep(relaydRest) // the pause belongs to the measurement
		return
	}
	time.Sleep(idleSettle) // the pause belongs to the measurement
}

// private is the private memory of the side's session processes, in KiB, and what relayd has grown by.
func (s *side) private(b *testing.B) (sum float64) {
	b.Helper()
	if s.relayd != nil {
		sum = measure.PrivateKiB(b, s.relayd.Cmd.Process.Pid) - s.empty
	}
	for _, p := range harness.Procs(b, s.comms...) {
		sum += measure.PrivateKiB(b, p.PID)
	}
	return sum
}

// BenchmarkTransfer is the CPU per GB through TLS towards the client, and from the client.
func BenchmarkTransfer(b *testing.B) {
	for _, direction := range []string{"BULK", "SINK"} {
		b.Run(direction, func(b *testing.B) {
			sides := world(b, true, false)
			cpu := map[string][]float64{}
			block := make([]byte, 1<<20)
			for range rounds {
				for _, s := range sides {
					c, in, _ := s.login(b, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
					before := s.alive(b)
					fmt.Fprintf(c, "x %s %d\r\n", direction, megabytes<<20)
					if direction == "BULK" {
						if _, err := io.CopyN(io.Discard, in, megabytes<<20); err != nil {
							b.Fatal(err)
						}
					} else {
						for range megabytes {
							if _, err := c.Write(block); err != nil {
								b.Fatal(err)
							}
						}
						in.ReadString('\n')
					}
					cpu[s.name] = append(cpu[s.name], (s.alive(b)-before).Seconds()/megabytes*1e9/(1<<20))
					s.logout(c)
					s.settled(b)
				}
			}
			for b.Loop() {
			}
			report(b, "cpu-s/GB", sides, cpu)
		})
	}
}
