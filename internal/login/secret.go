package login

import (
	"fmt"
	"os"
	"strings"

	"mailproxy/internal/text"
)

// maxSecret bounds a password file, in bytes.
const maxSecret = 4096

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
