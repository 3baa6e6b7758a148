package harness

import (
	"regexp"
	"testing"
)

// Page is the text of a page of docs/, whose commands a test runs.
type Page string

// ReadPage reads a page of docs/.
func ReadPage(t testing.TB, name string) Page {
	t.Helper()
	return Page(Source(t, "docs/"+name))
}

// Block is the code block whose first line says so: "sh hold". There is to be one of them.
func (p Page) Block(t testing.TB, mark string) string {
	t.Helper()
	found := regexp.MustCompile("(?sm)^```"+regexp.QuoteMeta(mark)+"\n(.*?)^```$").
		FindAllStringSubmatch(string(p), -1)
	if len(found) != 1 {
		t.Fatalf("the page has %d code blocks %q, not one", len(found), mark)
	}
	return found[0][1]
}

// Marks are those of all code blocks.
func (p Page) Marks() []string {
	var marks []string
	for _, found := range regexp.MustCompile("(?m)^```(.+)$").FindAllStringSubmatch(string(p), -1) {
		marks = append(marks, found[1])
	}
	return marks
}
