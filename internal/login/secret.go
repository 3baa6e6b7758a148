package login

import (
	"fmt"
	"os"
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/text"
)

// maxSecret bounds a password file, in bytes.
const maxSecret = 4096

// MasterPassword reads PROXY_MASTER_USER's password. The error names the setting.
func MasterPassword(c *config.Config) (string, error) {
	secret, err := readSecret(c.MasterFile)
	if err != nil {
		return "", fmt.Errorf("PROXY_MASTER_PASSWORD_FILE: %w", err)
	}
	return secret, nil
}

const (
	// machineID is what the salts of SCRAM depend on without SCRAM_SECRET_FILE. Nobody from outside knows it,
	// and it is shown to nobody (machine-id(5)).
	machineID = "/etc/machine-id"
	// minSecret is the shortest secret that cannot be guessed, in bytes.
	minSecret = 16
)

// SCRAMSecret reads the secret of sasl.SCRAM. The error names the setting.
func SCRAMSecret(c *config.Config) ([]byte, error) {
	if c.SCRAMSecretFile != "" {
		secret, err := readSecret(c.SCRAMSecretFile)
		if err == nil && len(secret) < minSecret {
			err = fmt.Errorf("%s: its first line is shorter than %d bytes", c.SCRAMSecretFile, minSecret)
		}
		if err != nil {
			return nil, fmt.Errorf("SCRAM_SECRET_FILE: %w", err)
		}
		return []byte(secret), nil
	}
	text, err := os.ReadFile(machineID)
	id := strings.TrimSpace(string(text))
	if err == nil && len(id) < minSecret {
		err = fmt.Errorf("%s: no machine id", machineID)
	}
	if err != nil {
		return nil, fmt.Errorf("SCRAM without SCRAM_SECRET_FILE: %w", err)
	}
	return []byte(id), nil
}

// readSecret returns the first line of a file that nobody but its owner and its group may use.
func readSecret(name string) (string, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular() || info.Size() > maxSecret:
		return "", fmt.Errorf("%s: not a file of at most %d bytes", name, maxSecret)
	case info.Mode().Perm()&0o007 != 0:
		return "", fmt.Errorf("%s: everybody may use it (mode %04o): chmod it to 0600", name, info.Mode().Perm())
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	first = strings.TrimSuffix(first, "\r")
	if first == "" || !text.Plain(first) {
		return "", fmt.Errorf("%s: no password in its first line, or one with control characters", name)
	}
	return first, nil
}
