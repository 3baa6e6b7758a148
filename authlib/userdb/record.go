package userdb

import (
	"strings"

	"mailproxy/authlib"
)

// record is the fields of one account: "field=value|field=value".
type record string

// get returns the value of the first field of that name.
func (r record) get(name string) (string, bool) {
	for field := range strings.SplitSeq(string(r), "|") {
		if len(field) > len(name) && field[len(name)] == '=' && field[:len(name)] == name {
			return field[len(name)+1:], true
		}
	}
	return "", false
}

// password returns the hash that decides for a service.
func (r record) password(service string) (field, hash string, ok bool) {
	field = service + "pw"
	if hash, ok = r.get(field); !ok {
		field = "systempw"
		hash, ok = r.get(field)
	}
	return field, hash, ok
}

// cramField names the generic secret of a CRAM type; the one for a service has "<service>-" in front.
func cramField(t authlib.AuthType) string {
	switch t {
	case authlib.AuthCRAMMD5:
		return "hmac-md5pw"
	case authlib.AuthCRAMSHA1:
		return "hmac-sha1pw"
	case authlib.AuthCRAMSHA256:
		return "hmac-sha256pw"
	}
	return ""
}

// account returns the account without anything that concerns its password. The error is an
// *authlib.AccountError.
func (r record) account(name string) (*authlib.Account, error) {
	if r == noTab {
		return nil, authlib.Unusable(name, "a space instead of a TAB after the name in userdb")
	}
	a := &authlib.Account{Address: name}
	a.Home, _ = r.get("home")
	uid, _ := r.get("uid")
	gid, _ := r.get("gid")
	if err := a.SetIDs("uid", uid, "gid", gid, "home"); err != nil {
		return nil, err
	}
	a.Maildir, _ = r.get("mail")
	options, _ := r.get("options")
	a.Options = authlib.Options(options)
	return a, nil
}

// describe adds what only an answer to LOGIN or PRE has.
func (r record) describe(a *authlib.Account, service string) {
	gecos, _ := r.get("gecos")
	a.FullName, _, _ = strings.Cut(gecos, ",")
	a.Quota, _ = r.get("quota")
	_, a.CryptPassword, _ = r.password(service)
}

// replace returns the record with other values for some of its fields; only the first field of a name counts.
func (r record) replace(values map[string]string) record {
	fields := strings.Split(string(r), "|")
	done := make(map[string]bool)
	for i, field := range fields {
		name, _, ok := strings.Cut(field, "=")
		if value, wanted := values[name]; ok && wanted && !done[name] {
			fields[i] = name + "=" + value
			done[name] = true
		}
	}
	return record(strings.Join(fields, "|"))
}
