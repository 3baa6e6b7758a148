package harness

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// LDAPOptions are what differs between one slapd and another.
type LDAPOptions struct {
	Addr   string   // 127.0.x.y; ports 389, and 636 when there is a certificate
	Schema []string // files to include after core, cosine, inetorgperson and nis
	Config string   // further lines of slapd.conf for the database, such as access rules
	Global string   // further lines before the database, such as TLSCertificateFile
	LDIF   string   // what the directory holds besides the suffix and the administrator
	TLS    bool     // listen on 636, too
}

// The suffix and the administrator of OpenLDAP's directory.
const (
	LDAPSuffix   = "dc=example,dc=com"
	LDAPAdmin    = "cn=admin,dc=example,dc=com"
	LDAPPassword = "ldap secret"
)

// ldapBase is what every directory holds.
const ldapBase = `dn: ` + LDAPSuffix + `
objectClass: top
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ` + LDAPAdmin + `
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: admin
userPassword: ` + LDAPPassword + `

`

// OpenLDAP starts slapd with the suffix LDAPSuffix.
func OpenLDAP(t testing.TB, o LDAPOptions) *Database {
	t.Helper()
	d := &Database{Addr: o.Addr, Dir: Dir(t)}
	write := func(name, text string) string {
		path := filepath.Join(d.Dir, name)
		WriteFile(t, path, text, 0o644)
		return path
	}
	var conf strings.Builder
	for _, schema := range append([]string{"core", "cosine", "inetorgperson", "nis"}, o.Schema...) {
		if !strings.Contains(schema, "/") {
			schema = "/etc/ldap/schema/" + schema + ".schema"
		}
		fmt.Fprintf(&conf, "include %s\n", schema)
	}
	data := filepath.Join(d.Dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&conf, "modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile %s/pid\n%s\n", d.Dir, o.Global)
	fmt.Fprintf(
		&conf,
		"database mdb\nsuffix %q\nrootdn %q\nrootpw %q\ndirectory %s\nmaxsize 67108864\ndbnosync\n"+
			"index objectClass,mail,uid eq\n%s\n",
		LDAPSuffix,
		LDAPAdmin,
		LDAPPassword,
		data,
		o.Config,
	)
	file := write("slapd.conf", conf.String())
	Run(t, "", "slapadd", "-q", "-f", file, "-l", write("init.ldif", ldapBase+o.LDIF))
	urls := "ldap://" + o.Addr + ":389/ ldapi://" + strings.ReplaceAll(filepath.Join(d.Dir, "s"), "/", "%2F")
	if o.TLS {
		urls += " ldaps://" + o.Addr + ":636/"
	}
	d.start = func(t testing.TB) *Process {
		return Start(t, exec.Command("slapd", "-f", file, "-h", urls, "-d",
			"0"))
	}
	d.up = func() bool {
		c, err := net.DialTimeout("tcp", o.Addr+":389", time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
	d.shell = func(ldif string) *exec.Cmd {
		cmd := exec.Command("ldapmodify", "-x", "-H", "ldap://"+o.Addr, "-D", LDAPAdmin, "-w", LDAPPassword)
		cmd.Stdin = strings.NewReader(ldif)
		return cmd
	}
	d.launch(t)
	return d
}
