package spelling

import "testing"

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
