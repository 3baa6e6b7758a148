package maillog

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// lines counts the writes: each line has to be one.
type lines struct{ got []string }

func (l *lines) Write(p []byte) (int, error) {
	l.got = append(l.got, string(p))
	return len(p), nil
}

func TestLog(t *testing.T) {
	every := func(l *Log) {
		l.Debugf("a %d", 1)
		l.Infof("b")
		l.Noticef("c")
		l.Warnf("d\ne\u202e")
		l.Errf("%s", "f\x01\x7f\x80")
		l.Critf("g %s", errors.New("h"))
		l.Line("NOTICE: i")
		l.Line("j: k")
	}
	var courier, journal lines
	every(NewLog(&courier))
	every(newJournalLog(&journal, "imapd"))
	every(NewSilentLog())
	wantCourier := "DEBUG: a 1\n|INFO: b\n|NOTICE: c\n|WARN: d\\012e\\342\\200\\256\n|ERR: f\\001\\177\\200\n" +
		"|CRIT: g h\n|NOTICE: i\n|INFO: j: k\n"
	if got := strings.Join(courier.got, "|"); got != wantCourier {
		t.Errorf("got  %q\nwant %q", got, wantCourier)
	}
	wantJournal := "<7>a 1\n|<6>b\n|<5>c\n|<4>d\\012e\\342\\200\\256\n|<3>f\\001\\177\\200\n" +
		"|<2>g h\n|<5>i\n|<6>j: k\n"
	if got := strings.Join(journal.got, "|"); got != wantJournal {
		t.Errorf("got  %q\nwant %q", got, wantJournal)
	}
}

func TestLogLongLine(t *testing.T) {
	var got lines
	NewLog(&got).Infof("%s", strings.Repeat("\u00e9", 5000))
	if n := len(got.got[0]); n > maxLine+20 || !utf8.ValidString(got.got[0]) ||
		!strings.HasSuffix(got.got[0], "...\n") {
		t.Errorf("a line of %d bytes: %q", n, got.got[0][max(0, n-20):])
	}
}

// A log with a limit writes no more than that, says so once, and keeps back nothing that always is to be
// written.
func TestLogLimit(t *testing.T) {
	var got lines
	all := NewLog(&got)
	limited := all.Limit(120, func() string { return "enough" })
	for range 50 {
		limited.Warnf("%s", strings.Repeat("x", 29))
	}
	limited.Infof("short") // what has been left out is not followed by what would fit
	limited.Errf("broken")
	limited.Always().Infof("always")
	all.Always().Infof("all")
	want := strings.Repeat("WARN: "+strings.Repeat("x", 29)+"\n", 3) +
		"NOTICE: enough\nERR: broken\nINFO: always\nINFO: all\n"
	if text := strings.Join(got.got, ""); text != want {
		t.Errorf("got  %q\nwant %q", text, want)
	}
}
