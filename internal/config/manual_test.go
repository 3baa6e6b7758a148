package config

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// item is a setting as the manual page has it.
type item struct{ name, fallback string }

// pageItems returns the settings that the manual page describes. Several settings of one item share what is
// said of its default, or have one each, separated by commas.
func pageItems(t *testing.T) (items []item) {
	t.Helper()
	page, err := os.ReadFile("../../man/mailproxy.5")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), ".It Ev ")
		if !ok {
			continue
		}
		names, fallback, _ := strings.Cut(line, " Pq ")
		list := strings.Split(names, " , ")
		each := strings.Split(fallback, ", ")
		for i, word := range list {
			name, _, _ := strings.Cut(strings.TrimSpace(word), " ")
			own := fallback
			if len(list) > 1 && len(each) == len(list) {
				own = "default " + strings.TrimPrefix(each[i], "default ")
			}
			items = append(items, item{name, own})
		}
	}
	return items
}

// The page describes the settings that are read, and no others, with the defaults that are in force: "default
// VALUE" is the table's (more may follow, after a comma or a colon), "default: words" stands where the table
// has none.
func TestManual(t *testing.T) {
	var want, got []string
	for _, s := range All() {
		if s.Status == Used || s.Status == Launcher {
			want = append(want, s.Name)
		}
	}
	for _, i := range pageItems(t) {
		got = append(got, i.name)
		s, ok := Find(i.name)
		if !ok || s.Status != Used {
			continue
		}
		value, isValue := strings.CutPrefix(i.fallback, "default ")
		value = strings.NewReplacer("Cm ", "", "Pa ", "").Replace(value)
		rest, isDefault := strings.CutPrefix(value, s.Default)
		switch {
		case s.Default == "" && !strings.HasPrefix(i.fallback, "default: "):
			t.Errorf("%s has no default, but the page says %q", s.Name, i.fallback)
		case s.Default != "" && (!isValue || !isDefault || rest != "" && rest[0] != ',' && rest[0] != ':'):
			t.Errorf("default of %s is %s, but the page says %q", s.Name, s.Default, i.fallback)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the table (-) and man/mailproxy.5 (+) differ:\n%s", d)
	}
}
