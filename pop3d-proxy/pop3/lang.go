package pop3

import (
	"context"
	"strings"
)

// lang is RFC 6856 section 3: there is English only.
func (d *dialogue) lang(_ context.Context, arg string) error {
	switch tag := strings.ToLower(strings.TrimSpace(arg)); tag {
	case "":
		return d.ok("+OK Language listing follows:\r\nen English\r\ni-default English\r\n.")
	case "en", "i-default", "*":
		if tag == "*" {
			tag = "en"
		}
		return d.ok("+OK " + tag + " Language changed")
	}
	return d.ok("-ERR Language not available.")
}
