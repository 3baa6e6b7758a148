package config

import (
	"testing"
	"time"
)

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
			c, err := newConfig(Raw{setting: {Text: word}, "TLS_TRUSTCERTS": {Text: "/ca"}}, IMAP)
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
