package tlsfiles

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// MaxCert bounds a file with certificate and key; a chain of RSA-8192 certificates is a tenth of it.
	MaxCert = 256 << 10
	// MaxTrust bounds one file of trusted certificates. Debian's bundle of all public authorities is 0.2 MiB.
	MaxTrust = 4 << 20
)

// What may be wrong with a file.
var (
	ErrNoCert     = errors.New("no CERTIFICATE in PEM form")
	ErrNoKey      = errors.New("no PRIVATE KEY in PEM form")
	ErrEncrypted  = errors.New("the private key is protected by a pass phrase")
	ErrNotRegular = errors.New("not a regular file")
)

// Blocks returns the certificates of certPEM and the first private key of keyPEM in DER, with its PEM type.
func Blocks(certPEM, keyPEM []byte) (chain [][]byte, key []byte, keyType string, err error) {
	for block, rest := pem.Decode(certPEM); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	if len(chain) == 0 {
		return nil, nil, "", ErrNoCert
	}
	for block, rest := pem.Decode(keyPEM); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, nil, "", ErrEncrypted
		}
		return chain, block.Bytes, block.Type, nil
	}
	return nil, nil, "", ErrNoKey
}

func (t *Text) check() error {
	if _, _, _, err := Blocks(t.Cert, t.Key); err != nil {
		return fmt.Errorf("%s: %w", t.Files, err)
	}
	return nil
}

// open opens a regular file of at most limit bytes. It never waits for a writer of a named pipe. It does without os.File,
// whose poller and growing buffer would take twenty system calls where four do: this is done for every connection.
func open(path string, limit int64) (fd int, st unix.Stat_t, err error) {
	fail := func(op string, err error) (int, unix.Stat_t, error) {
		return -1, st, &fs.PathError{Op: op, Path: path, Err: err}
	}
	if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return fail("open", err)
	}
	op, err := "stat", unix.Fstat(fd, &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		op, err = "read", ErrNotRegular
	case st.Size > limit:
		op, err = "read", fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		unix.Close(fd)
		return fail(op, err)
	}
	return fd, st, nil
}

// Read reads a regular file of at most limit bytes, and tells its permissions.
func Read(path string, limit int64) ([]byte, fs.FileMode, error) {
	fd, st, err := open(path, limit)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(fd)
	mode := fs.FileMode(st.Mode & 0o777)
	data := make([]byte, st.Size)
	for n := 0; n < len(data); {
		r, err := unix.Read(fd, data[n:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, 0, &fs.PathError{Op: "read", Path: path, Err: err}
		case r == 0:
			return data[:n], mode, nil
		default:
			n += r
		}
	}
	return data, mode, nil
}
