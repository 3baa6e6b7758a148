package spelling

import (
	"math"
	"testing"
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

// A number is a level, everything else that switches on is the first one.
func TestParseLevel(t *testing.T) {
	for text, want := range map[string]int{
		"0": 0, "no": 0, "-0": 0, "1": 1, "yes": 1, "-2": 1, "2": 2, " +3 ": 3, "007": 7,
		"99999999999999999999999": math.MaxInt,
	} {
		if got, ok := ParseLevel(text); got != want || !ok {
			t.Errorf("%q: %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "2x", "maybe"} {
		if got, ok := ParseLevel(text); got != 0 || ok {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
}
