package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailproxy/internal/peercred"
	"mailproxy/internal/spelling"
	"mailproxy/internal/tlsnames"
)

// maxSeconds bounds every time limit to ten years, far below what overflows a time.Duration.
const maxSeconds = 10 * 366 * 24 * 3600

// The functions below make the table's entries, one for each kind of value; to finds the field of a Config.
// Blanks around a value do not count, except in a text, and every value may be empty, which means the
// default.

var errNoSwitch = errors.New("must be yes, no, true, false, on, off, 1 or 0")

func switchOf(name string, def string, to func(*Config) *bool) Setting {
	return Setting{Name: name, Default: def, set: func(c *Config, text string) error {
		on, ok := spelling.ParseSwitch(text)
		if !ok {
			return errNoSwitch
		}
		*to(c) = on
		return nil
	}}
}

func number(name, def string, least, most int, to func(*Config) *int) Setting {
	return Setting{Name: name, Default: def, set: func(c *Config, text string) error {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a number from %d to %d", least, most)
		}
		*to(c) = n
		return nil
	}}
}

func seconds(name, def string, least int, to func(*Config) *time.Duration) Setting {
	return Setting{Name: name, Default: def, set: func(c *Config, text string) error {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err != nil || n < uint64(least) || n > maxSeconds {
			return fmt.Errorf("must be a number of seconds from %d to %d", least, maxSeconds)
		}
		*to(c) = time.Duration(n) * time.Second
		return nil
	}}
}

func octal(name string, to func(*Config) *int) Setting {
	return Setting{Name: name, set: func(c *Config, text string) error {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 8, 9)
		if err != nil {
			return errors.New("must be an octal number from 0 to 777")
		}
		*to(c) = int(n)
		return nil
	}}
}

func text(name, def string, to func(*Config) *string) Setting {
	return Setting{Name: name, Default: def, blanks: true, set: func(c *Config, text string) error {
		*to(c) = text
		return nil
	}}
}

// trimmed is a text without surrounding blanks.
func trimmed(name, def string, to func(*Config) *string) Setting {
	return Setting{Name: name, Default: def, set: func(c *Config, text string) error {
		*to(c) = strings.TrimSpace(text)
		return nil
	}}
}

func words(name string, to func(*Config) *[]string) Setting {
	return Setting{Name: name, set: func(c *Config, text string) error {
		*to(c) = strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t,:", r) })
		return nil
	}}
}

// version takes Courier's names of TLS versions; of several the lowest counts.
func version(name string, to func(*Config) *uint16) Setting {
	return Setting{Name: name, set: func(c *Config, text string) (err error) {
		*to(c), err = tlsnames.ParseVersion(text)
		return err
	}}
}

// users takes users who may listen on a socket. Groups are none: the kernel tells of a listener the user, and
// anybody in a group could put a listener there.
func users(name, def string, to func(*Config) *[]string) Setting {
	return Setting{Name: name, Default: def, set: func(c *Config, text string) error {
		names := peercred.Names(text)
		isGroup := func(name string) bool { return strings.HasPrefix(name, "@") }
		if len(names) == 0 || slices.ContainsFunc(names, isGroup) {
			return errors.New("must be users, not groups")
		}
		*to(c) = names
		return nil
	}}
}

// choice takes one of values, in any case. What switches off is also NO or 0, what switches on YES or 1, if
// it is among them.
func choice[T ~string](name string, def T, to func(*Config) *T, values ...T) Setting {
	return Setting{Name: name, Default: string(def), set: func(c *Config, text string) error {
		v, err := parseChoice(text, values...)
		if err == nil {
			*to(c) = v
		}
		return err
	}}
}

// parseChoice reads the value of a choice.
func parseChoice[T ~string](text string, values ...T) (T, error) {
	meant := []string{strings.TrimSpace(text)}
	switch on, ok := spelling.ParseSwitch(text); {
	case ok && on:
		meant = append(meant, "YES", "1")
	case ok:
		meant = append(meant, "NO", "0")
	}
	for _, word := range meant {
		for _, v := range values {
			if strings.EqualFold(word, string(v)) {
				return v, nil
			}
		}
	}
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return "", errors.New("must be " + orList(names))
}

// orList joins words for a sentence.
func orList(list []string) string {
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " or " + list[last]
}
