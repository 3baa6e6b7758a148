package frontend

import (
	"strings"
	"testing"
	"time"

	"mailproxy/internal/inetd"
)

// What a predecessor has handed on is three numbers, or the session does not begin; nobody else gets to see it.
func TestResume(t *testing.T) {
	for _, c := range []struct {
		text string
		want *Resumption
	}{
		{"1700000000000000000 12 34", &Resumption{12, 34}},
		{"1700000000000000000 0 0", &Resumption{}},
		{"", nil}, {"1", nil}, {"1 2", nil}, {"1 2 3 4", nil}, {"1 2 3x", nil}, {"x 2 3", nil}, {"1 -2 3", nil}, {"-1 2 3", nil},
		{"1 2 99999999999999999999", nil}, {"1 2 3\nX=Y", nil}, {"YES", nil},
	} {
		settings := inetd.Settings{resumeVariable: c.text, "OTHER": "x"}
		s := &Session{Settings: settings}
		err := s.resume()
		if _, there := s.Settings.Lookup(resumeVariable); there || settings[resumeVariable] != c.text || s.Settings["OTHER"] != "x" {
			t.Errorf("%q: settings %v, before %v", c.text, s.Settings, settings)
		}
		got, ok := s.Resumed()
		if c.want == nil {
			if err == nil || ok || !strings.Contains(err.Error(), resumeVariable) {
				t.Errorf("%q: taken: %v %v %v", c.text, got, ok, err)
			}
			continue
		}
		if err != nil || !ok || got != *c.want || !s.Started.Equal(time.Unix(1700000000, 0)) {
			t.Errorf("%q: %v %v %v %v", c.text, got, ok, s.Started, err)
		}
	}
	s := &Session{Settings: inetd.Settings{}}
	if err := s.resume(); err != nil {
		t.Error(err)
	}
	if _, ok := s.Resumed(); ok {
		t.Error("resumed from nothing")
	}
}
