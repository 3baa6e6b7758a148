package rcfile

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
)

// Setting is a setting's name and value, wherever it stands.
type Setting struct{ Name, Value string }

// Authorities returns the certificates in the PEM file and in all files of the directory that two settings
// name; nil when neither is set. What cannot be read in the directory, which may have other files, is passed
// over; that there are none at all is an error.
func Authorities(file, directory Setting) (*x509.CertPool, error) {
	if file.Value == "" && directory.Value == "" {
		return nil, nil
	}
	pool, found := x509.NewCertPool(), false
	if file.Value != "" {
		pem, err := os.ReadFile(file.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
		found = pool.AppendCertsFromPEM(pem)
	}
	if directory.Value != "" {
		names, err := filepath.Glob(filepath.Join(directory.Value, "*"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", directory.Name, err)
		}
		for _, name := range names {
			if pem, err := os.ReadFile(name); err == nil {
				found = pool.AppendCertsFromPEM(pem) || found
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("%s, %s: no certificate in them", file.Name, directory.Name)
	}
	return pool, nil
}
