package imap

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"mailproxy/internal/config"
	"mailproxy/internal/connection"
	"mailproxy/internal/mailhost"
)

// forwardClient tells the mailhost who the real client is, with the fields of RFC 2971's ID command that
// Dovecot believes when its login_trusted_networks names us; after them go those that the client has sent.
// PROXY_FORWARD_CLIENT=ID asks for it. A mailhost that calls itself one of our own kind is told in any case
// how many proxies may still follow: see login.Session.LimitHops.
func (u *upstream) forwardClient(context.Context) error {
	forward := u.m.Config.Forward == config.ForwardID
	if !forward && !u.proxy {
		return nil
	}
	u.Step = mailhost.StepForward
	own := u.ownFields(forward)
	if len(own) == 0 {
		return nil
	}
	var theirs []mailhost.IDField
	if forward && !u.m.LeaveOut {
		theirs = clientFields(u.m.ID, maxID-len(own))
	}
	// A mailhost that has no ID answers BAD or NO; the login does not depend on it. It may have been the
	// client's fields.
	status, err := u.sendID("I1", append(own[:len(own):len(own)], theirs...))
	if err == nil && status != "OK" && len(theirs) > 0 {
		status, err = u.sendID("I2", own)
	}
	switch {
	case connection.HungUp(err) && len(theirs) > 0:
		return &mailhost.HungUpError{What: "the client's fields of ID", Err: err}
	case connection.HungUp(err) && forward: // it is not logged in to without the client's address
		return errors.New("mailhost hangs up when it is told the client's address (PROXY_FORWARD_CLIENT=ID)")
	case err == nil && status != "OK" && forward:
		u.m.Log.Warnf("%s did not take the client's address (PROXY_FORWARD_CLIENT=ID): %s", u.m.Host, status)
	}
	return err
}

// sendID says ID and returns the status of the answer.
func (u *upstream) sendID(tag string, fields []mailhost.IDField) (string, error) {
	text := ""
	for _, f := range fields {
		value := "NIL"
		if !f.Nil {
			value = quote(f.Value)
		}
		text += " " + quote(f.Name) + " " + value
	}
	r, err := u.command(tag, "ID ("+text[1:]+")")
	return r.status, err
}

// ownFields are ours: who the client is, if that is forwarded and known, and how many proxies may follow.
func (u *upstream) ownFields(forward bool) []mailhost.IDField {
	var own []mailhost.IDField
	add := func(name, value string) {
		if value != "" {
			own = append(own, mailhost.IDField{Name: name, Value: value})
		}
	}
	if c := u.m.Client; forward {
		ip, port := mailhost.Endpoint(c.RemoteIP, c.RemotePort)
		add("x-originating-ip", ip)
		add("x-originating-port", port)
		ip, port = mailhost.Endpoint(c.LocalIP, c.LocalPort)
		add("x-connected-ip", ip)
		add("x-connected-port", port)
	}
	if u.m.Hops > 0 {
		add(hopsField, strconv.Itoa(u.m.Hops))
	}
	return own
}

// clientFields are at most n of those that a client has sent. Names that begin with x- are left out, as
// mailhosts believe several of them, and so is what comes twice, what RFC 2971 section 3.3 does not allow,
// and what cannot be quoted.
func clientFields(said []mailhost.IDField, n int) []mailhost.IDField {
	var fields []mailhost.IDField
	seen := map[string]bool{}
	for _, f := range said {
		name := strings.ToLower(f.Name)
		if len(fields) == n {
			break
		}
		if name == "" || len(name) > 30 || len(f.Value) > 1024 || strings.HasPrefix(name, "x-") || seen[name] ||
			!printable(f.Name) || !printable(f.Value) {
			continue
		}
		seen[name] = true
		fields = append(fields, f)
	}
	return fields
}
