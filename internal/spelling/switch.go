// Package spelling interprets words that an administrator has written: values of switches, and misspelt names
// of settings.
package spelling

import (
	"strconv"
	"strings"
)

// ParseSwitch reads a switch: yes, true or on, no, false or off, y or n, in any case, or a decimal number, of
// which 0 is off. ok is false for everything else, so also for an empty text.
func ParseSwitch(text string) (on, ok bool) {
	text = strings.TrimSpace(text)
	switch strings.ToLower(text) {
	case "yes", "true", "on", "y":
		return true, true
	case "no", "false", "off", "n":
		return false, true
	}
	digits := strings.TrimLeft(text, "+-")
	if digits == "" || len(text)-len(digits) > 1 || strings.Trim(digits, "0123456789") != "" {
		return false, false
	}
	return strings.Trim(digits, "0") != "", true
}

// ParseLevel reads a switch that says how much by its number: what only switches on is 1.
func ParseLevel(text string) (level int, ok bool) {
	on, ok := ParseSwitch(text)
	if !on {
		return 0, ok
	}
	n, _ := strconv.Atoi(strings.TrimSpace(text)) // no number is 0, one that is too large the largest
	return max(n, 1), true
}
