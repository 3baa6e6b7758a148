package authlib

import (
	"fmt"
	"strings"

	"mailproxy/internal/spelling"
)

// Options is a list "key=value,key=value" as it stands in the database, order kept. Blanks around keys and
// values mean nothing; of two options with one key the first counts.
type Options string

// switches are the options that the front ends read as switches.
var switches = [...]string{"disableimap", "disablepop3", "disableinsecureimap", "disableinsecurepop3"}

func isSwitch(key string) bool {
	for _, name := range switches {
		if key == name {
			return true
		}
	}
	return false
}

// option splits one field of Options; hasValue is false for a field without "=".
func option(field string) (key, value string, hasValue bool) {
	key, value, hasValue = strings.Cut(field, "=")
	return strings.TrimSpace(key), strings.TrimSpace(value), hasValue
}

// find returns the first option named key.
func (o Options) find(key string) (value string, hasValue, found bool) {
	for field := range strings.SplitSeq(string(o), ",") {
		name, value, hasValue := option(field)
		if name == key {
			return value, hasValue, true
		}
	}
	return "", false, false
}

// Get returns the value of the first option named key, and whether there is one. An option without "=" has
// the value "".
func (o Options) Get(key string) (string, bool) {
	value, _, found := o.find(key)
	return value, found
}

// Switch tells whether the switch named key is on: an option without "=" is on; a missing option, or one with
// an empty value, is off; other values are those of [spelling.ParseSwitch]. Any other value is an error: it
// is neither on nor off, and the login is refused until it is corrected.
func (o Options) Switch(key string) (on bool, err error) {
	value, hasValue, found := o.find(key)
	switch {
	case !found, hasValue && value == "":
		return false, nil
	case !hasValue:
		return true, nil
	}
	on, ok := spelling.ParseSwitch(value)
	if !ok {
		return false, fmt.Errorf("option %s=%.40q: must be yes, no, true, false, on, off, 1 or 0", key, value)
	}
	return on, nil
}

// Clean returns the options as every program understands them, Courier's included: no blanks around keys and
// values, and 1 or 0 for a switch that is written as a word. remarks say which words have no value, and so no
// meaning. The error is that of [Options.Switch], for any switch.
func (o Options) Clean() (clean Options, remarks []string, err error) {
	var b strings.Builder
	before := ""
	for field := range strings.SplitSeq(string(o), ",") {
		key, value, hasValue := option(field)
		if key == "" && value == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(key)
		if isSwitch(key) {
			on, err := Options(field).Switch(key)
			if err != nil {
				return "", nil, err
			}
			if on != (atoi(value) != 0) {
				value, hasValue = "0", true
				if on {
					value = "1"
				}
			}
		} else if !hasValue {
			remark := fmt.Sprintf("option %.100q has no value", key)
			if before == "mailhost" {
				remark += ": blanks or semicolons separate mailhosts"
				key = before // there may be more
			}
			remarks = append(remarks, remark)
		}
		if hasValue {
			b.WriteByte('=')
			b.WriteString(value)
		}
		before = key
	}
	return Options(b.String()), remarks, nil
}

// Merge returns o with those options of defaults appended whose key o does not have.
func (o Options) Merge(defaults Options) Options {
	merged := string(o)
	for field := range strings.SplitSeq(string(defaults), ",") {
		name, _, _ := option(field)
		if _, own := o.Get(name); own || name == "" {
			continue
		}
		if merged != "" {
			merged += ","
		}
		merged += field
	}
	return Options(merged)
}

// atoi reads a leading decimal number as C's atoi does (blanks, a sign, digits; the rest is ignored), which
// is how Courier reads every numeric setting. Numbers beyond the int32 range are cut to it.
func atoi(s string) int {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	sign := 1
	if s != "" && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	n := 0
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = min(n*10+int(s[i]-'0'), 1<<31-1)
	}
	return sign * n
}
