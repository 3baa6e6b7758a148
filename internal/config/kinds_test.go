package config

import (
	"testing"
	"time"
)

func TestParseSwitch(t *testing.T) {
	for text, want := range map[string]string{
		"1": "on", "0": "off", "2": "on", "007": "on", "00": "off", "-1": "on", "+0": "off",
		" 1 ": "on", "10": "on", "99999999999999999999999": "on", "yes": "on", "Yes": "on",
		"YES": "on", "y": "on", "no": "off", "N": "off",
		"true": "on", "False": "off", "ON": "on", "off": "off", " no\t": "off",
		"": "", " ": "", "maybe": "", "yess": "", "12x": "", "0x1": "", "1.0": "",
		"+-1": "", "+": "", "-": "", "yes no": "",
	} {
		on, ok := ParseSwitch(text)
		got := ""
		if ok {
			got = map[bool]string{true: "on", false: "off"}[on]
		}
		if got != want || !ok && on {
			t.Errorf("%q: %v, %v; want %q", text, on, ok, want)
		}
	}
}

// What is not understood is never on: it is not a value at all.
func FuzzParseSwitch(f *testing.F) {
	for _, seed := range []string{"1", "yes", "OFF", "-0", "0x1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		on, ok := ParseSwitch(text)
		if on && !ok {
			t.Errorf("%q is on without being understood", text)
		}
		if again, okAgain := ParseSwitch(" " + text + " "); again != on || okAgain != ok {
			t.Errorf("%q: blanks around it count", text)
		}
	})
}

func TestSecondsBounds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "30": 30 * time.Second, "0030": 30 * time.Second, " 1 ": time.Second,
		"316224000": maxSeconds * time.Second,
	} {
		c := &Config{}
		s := seconds("X", "7", 0, func(c *Config) *time.Duration { return &c.Keepalive })
		if err := s.set(c, text); err != nil || c.Keepalive != want {
			t.Errorf("%q: %v, %v; want %v", text, c.Keepalive, err, want)
		}
	}
}

// What switches on or off is also understood where there is more than on and off.
func TestChoiceWords(t *testing.T) {
	for setting, words := range map[string]map[string]string{
		"PROXY_TLS":            {"yes": "YES", "1": "YES", "On": "YES", "0": "NO", "starttls": "STARTTLS"},
		"IMAP_PROXY_FOREIGN":   {"yes": "1", "1": "1", "2": "2", "3": "1", "off": "0", "00": "0"},
		"PROXY_FORWARD_CLIENT": {"0": "NO", "proxy1": "PROXY1", "id": "ID"},
		"TLS_VERIFYPEER":       {"none": "NONE", " Peer ": "PEER"},
	} {
		for word, want := range words {
			c, err := New(Raw{setting: {Text: word}}, IMAP)
			if err != nil {
				t.Error(err)
				continue
			}
			got := map[string]string{
				"PROXY_TLS": string(c.Mailhost.Mode), "IMAP_PROXY_FOREIGN": string(c.IMAP.Foreign),
				"PROXY_FORWARD_CLIENT": string(c.Forward), "TLS_VERIFYPEER": string(c.TLS.Verify),
			}[setting]
			if got != want {
				t.Errorf("%s=%s: %s, want %s", setting, word, got, want)
			}
		}
	}
}
