package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mailproxy/internal/text"
)

// screen is where a command writes to.
type screen struct {
	w     io.Writer
	width int
	json  bool
	now   time.Time
}

// writeJSON writes a value on lines of its own.
func (s screen) writeJSON(v any) error {
	e := json.NewEncoder(s.w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// shown makes a text that somebody else has chosen fit for a terminal and the columns of a table: besides
// what text.Visible escapes, every other character that does not print, and every blank but the space. It
// leaves what it returns as it is.
func shown(s string) string {
	return text.Escape(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// shorten takes the middle out of a text that is longer than n characters.
func shorten(s string, n int) string {
	const mark = ".."
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	keep := max(n-len(mark), 0)
	return string(r[:(keep+1)/2]) + mark + string(r[len(r)-keep/2:])
}

// column is one of a table.
type column struct {
	name   string
	number bool // to the right, and never shortened
}

// table is made of columns and rows, whose texts are shown.
type table struct {
	columns []column
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// leastWidth is what is left of a text in any case.
const leastWidth = 8

// write writes the table, at most width characters wide where its numbers allow that: the longest texts are
// shortened first.
func (t *table) write(w io.Writer, width int) {
	const gap = "  "
	widths := make([]int, len(t.columns))
	total := len(gap) * (len(t.columns) - 1)
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.name)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		total += widths[i]
	}
	for ; total > width; total-- {
		widest := -1
		for i, c := range t.columns {
			if !c.number && widths[i] > leastWidth && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	var b bytes.Buffer
	line := func(cell func(i int) string) {
		var l strings.Builder
		for i, c := range t.columns {
			s := shorten(cell(i), widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s))
			if i > 0 {
				l.WriteString(gap)
			}
			if c.number {
				l.WriteString(pad + s)
			} else {
				l.WriteString(s + pad)
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	line(func(i int) string { return t.columns[i].name })
	for _, row := range t.rows {
		line(func(i int) string { return row[i] })
	}
	_, _ = w.Write(b.Bytes())
}

// size is a number of bytes in few characters.
func size(n int64) string {
	if n < 10_000 {
		return fmt.Sprint(n)
	}
	units := "kMGTPE"
	v := float64(n) / 1000
	for v >= 999.5 && len(units) > 1 {
		v, units = v/1000, units[1:]
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f%c", v, units[0])
	}
	return fmt.Sprintf("%.0f%c", v, units[0])
}

// age is how long something has lasted, in few characters.
func age(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
