package relaytest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
)

// Size is the number of bytes of the bulk tests, each way: more than all buffers on the way hold.
const Size = 8 << 20

// Bulk sends size random bytes each way at the same time, half-closes, the mailhost when it has received
// everything, and compares checksums.
func Bulk(client, mailhost Conn, size int64) error {
	errs := make(chan error, 8)
	received := make(chan struct{})
	var sent, got [2][]byte
	var wg sync.WaitGroup
	for i, c := range []Conn{client, mailhost} {
		wg.Add(2)
		go func() {
			defer wg.Done()
			h := sha256.New()
			src := rand.NewChaCha8([32]byte{byte(i + 1)})
			if _, err := io.Copy(io.MultiWriter(c, h), io.LimitReader(src, size)); err != nil {
				errs <- fmt.Errorf("writing from side %d: %w", i, err)
			}
			if i == 1 {
				<-received
			}
			if err := c.CloseWrite(); err != nil {
				errs <- err
			}
			sent[i] = h.Sum(nil)
		}()
		go func() {
			defer wg.Done()
			h := sha256.New()
			n, err := io.Copy(h, struct{ io.Reader }{c})
			if err != nil || n != size {
				errs <- fmt.Errorf("side %d got %d of %d bytes: %w", i, n, size, err)
			}
			got[1-i] = h.Sum(nil)
			if i == 1 {
				close(received)
			}
		}()
	}
	wg.Wait()
	for i := range sent {
		if !bytes.Equal(sent[i], got[i]) {
			errs <- fmt.Errorf("the bytes of side %d were changed on the way", i)
		}
	}
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}
