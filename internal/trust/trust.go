// Package trust reads the certificates of the authorities by which clients, mailhosts and databases are
// verified.
//
// It deliberately lacks revocation lists and OpenSSL's hashed names: every file of a directory is read.
package trust

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mailproxy/internal/smallfile"
)

// maxFile bounds a file, in bytes. Debian's bundle of all public authorities has 0.2 MiB.
const maxFile = 4 << 20

// Setting is a setting that names a PEM file or a directory of such files; an empty path: it is not set.
type Setting struct{ Name, Path string }

// Load returns the certificates in what settings name. It is an error if there are none, or no setting:
// crypto/tls would use the system's certificates instead.
func Load(settings ...Setting) (*x509.CertPool, error) {
	pool, found := x509.NewCertPool(), false
	var names, paths []string
	for _, s := range settings {
		if s.Path == "" {
			continue
		}
		texts, err := read(s.Path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		for _, text := range texts {
			found = pool.AppendCertsFromPEM(text) || found
		}
		names, paths = append(names, s.Name), append(paths, s.Path)
	}
	if !found {
		return nil, fmt.Errorf("%s: no certificate in %s", strings.Join(names, ", "), strings.Join(paths, ", "))
	}
	return pool, nil
}

// read returns the text of a file, or of those in a directory. What cannot be read there is passed over:
// links that lead nowhere, other directories.
func read(path string) (texts [][]byte, err error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		text, _, err := smallfile.Read(path, maxFile)
		return [][]byte{text}, err
	}
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if text, _, err := smallfile.Read(filepath.Join(path, entry.Name()), maxFile); err == nil {
			texts = append(texts, text)
		}
	}
	return texts, err
}
