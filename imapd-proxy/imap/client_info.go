package imap

import (
	"context"
	"runtime"
	"strings"

	"mailproxy/internal/mailhost"
	"mailproxy/internal/text"
	"mailproxy/internal/version"
)

// maxID is the number of fields a client may send (RFC 2971 section 3.3).
const maxID = 30

// hopsField says how many proxies may still come. A client that knows it is a proxy.
const hopsField = "x-proxy-ttl"

// clientInfo is ID, RFC 2971, for those who ask before they log in; Courier answers only afterwards.
// IMAP_ID_FIELDS is the sum of 1 (our version), 2 (operating system); the name is told in any case.
func (d *dialogue) clientInfo(ctx context.Context, tag string) error {
	answered := hasCapability(d.capabilities(), "ID")
	if !answered {
		// Only a proxy is listened to, and a client that is going to be refused is asked for no literal.
		proceed := d.cmd.proceed
		d.cmd.proceed = func() error { return errSyntax }
		defer func() { d.cmd.proceed = proceed }()
	}
	said, err := d.cmd.idFields()
	if err != nil {
		return err
	}
	var words []string
	for _, f := range said {
		if strings.EqualFold(f.Name, hopsField) {
			d.s.LimitHops(f.Value)
		}
		value := f.Value
		if f.Nil {
			value = "NIL"
		}
		words = append(words, forLog(f.Name)+"="+forLog(value))
	}
	if !answered {
		return errSyntax
	}
	d.clientID = said
	if len(words) > 0 && !d.identified {
		d.identified = true
		d.s.LogID(text.Shorten(strings.Join(words, ", ")))
	}
	fields := `"name" "imapd-proxy"`
	bits := d.s.Config.IMAP.IDFields
	if bits&1 != 0 {
		fields += ` "version" ` + quote(version.Version)
	}
	if bits&2 != 0 {
		fields += ` "os" ` + quote(runtime.GOOS)
	}
	return d.s.Reply("* ID (" + fields + ")" + crlf + tag + " OK ID completed")
}

// idFields reads the argument of ID: NIL, or a list of strings in pairs. All of them together are no longer
// than a line may be.
func (p *parser) idFields() ([]mailhost.IDField, error) {
	p.blanks()
	if strings.EqualFold(string(p.rest), "NIL") {
		p.rest = nil
		return nil, p.end()
	}
	if len(p.rest) == 0 || p.rest[0] != '(' {
		return nil, errSyntax
	}
	p.rest = p.rest[1:]
	var said []mailhost.IDField
	size := 0
	for field := 0; ; field++ {
		p.blanks()
		if len(p.rest) > 0 && p.rest[0] == ')' && field%2 == 0 {
			p.rest = p.rest[1:]
			return said, p.end()
		}
		value, null, err := p.idString()
		if err != nil {
			return nil, err
		}
		size += len(value)
		switch {
		case size > maxLongLine:
			return nil, errTooLong
		case field >= 2*maxID:
			return nil, errSyntax
		case field%2 == 0:
			said = append(said, mailhost.IDField{Name: value})
		default:
			said[len(said)-1].Value, said[len(said)-1].Nil = value, null
		}
	}
}

// forLog is text.Field for names and values that the client chooses both: they cannot look like another
// field's name or address.
func forLog(value string) string {
	return strings.NewReplacer("=", `\075`, "[", `\133`, "]", `\135`).Replace(text.Field(value))
}

// idString reads one string or NIL of the list, up to the blank or the parenthesis after it.
func (p *parser) idString() (value string, null bool, err error) {
	if len(p.rest) > 0 && (p.rest[0] == '"' || p.rest[0] == '{') {
		list := p.inList
		p.inList = true
		defer func() { p.inList = list }()
		value, err = p.astring()
		return value, false, err
	}
	if len(p.rest) >= 3 && strings.EqualFold(string(p.rest[:3]), "NIL") {
		p.rest = p.rest[3:]
		return "", true, nil
	}
	return "", false, errSyntax
}
