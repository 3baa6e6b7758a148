// Package house tests the source tree itself: which package imports which, how long files and lines are, and
// what the Makefile says about itself.
package house

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// root is the directory that holds go.mod.
var root = filepath.Join("..", "..")

func TestMain(m *testing.M) {
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		fmt.Fprintln(os.Stderr, "tests/house:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
