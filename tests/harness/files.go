package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// ReadFile returns the text of a file.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Source returns the text of one of the project's own files, by its path from the directory with go.mod.
func Source(t testing.TB, path string) string {
	t.Helper()
	return ReadFile(t, filepath.Join(Root(t), path))
}

// WriteFile writes a file; the mode is that of a new one.
func WriteFile[Text string | []byte](t testing.TB, path string, text Text, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
