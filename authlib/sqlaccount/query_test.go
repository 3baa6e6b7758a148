package sqlaccount

import (
	"fmt"
	"strings"
	"testing"
)

// show writes a query and its parameters down.
func show(q *Query, v *Values) string {
	text := q.SQL(func(n int) string { return fmt.Sprint("$", n) })
	for _, p := range q.Params(v) {
		text += fmt.Sprintf(" | %s", p)
	}
	return text
}

func TestParse(t *testing.T) {
	v := &Values{LocalPart: `a'b\`, Domain: "d", service: "imap", User: "u", newPass: "n", newPassCrypt: "c"}
	both, my, pg := []*Dialect{MySQL, PostgreSQL}, []*Dialect{MySQL}, []*Dialect{PostgreSQL}
	for _, test := range []struct {
		in        []*Dialect
		sql, want string
		err       error
	}{
		// Whole strings, and strings with other text.
		{both, "x='$(local_part)' and y='$(domain)'", `x=$1 and y=$2 | a'b\ | d`, nil},
		{both, "x='$(local_part)@$(domain)'", `x=$1 | a'b\@d`, nil},
		{both, "x='it''s $(service)'", `x=$1 | it's imap`, nil},
		{both, "x like '%$(domain)%'", `x like $1 | %d%`, nil},
		{both, "x='$(newpass)',y='$(newpass_crypt)'", `x=$1,y=$2 | n | c`, nil},
		{both, "f('$(domain)','a')", `f($1,'a') | d`, nil},
		{my, `x="$(domain)" and y="a'$(domain)""b"`, `x=$1 and y=$2 | d | a'd"b`, nil},
		{my, `concat("a=",a,",b=",b) where x='$(domain)'`, `concat("a=",a,",b=",b) where x=$1 | d`, nil},
		// Alone.
		{both, "x=$(local_part) or y=($(domain))", `x=$1 or y=($2) | a'b\ | d`, nil},
		{pg, "x=$(local_part)::text||'@'||$(domain)", `x=$1::text||'@'||$2 | a'b\ | d`, nil},
		// Unknown placeholders are empty, dollars that are none stay.
		{both, "x='$(nobody)' or y='$(domain)$(nobody)'", `x=$1 or y=$2 |  | d`, nil},
		{both, "x='$' and y='$(' and z='$1'", `x='$' and y='$(' and z='$1'`, nil},
		{both, "x='$x$(domain)$'", `x=$1 | $xd$`, nil},
		{both, "from a$b where x='$(domain)'", `from a$b where x=$1 | d`, nil},
		{my, "from $b where x='$(domain)'", `from $b where x=$1 | d`, nil},
		// Strings, names and comments without a placeholder are none of our business.
		{both, `x='\\' and y like '\_%' and z='$(domain)'`, `x='\\' and y like '\_%' and z=$1 | d`, nil},
		{both, `x=E'\n' and y=_utf8 'u' and z='$(domain)'`, `x=E'\n' and y=_utf8 'u' and z=$1 | d`, nil},
		{both, `/*+ hint's */ x='$(domain)' -- it's`, `/*+ hint's */ x=$1 -- it's | d`, nil},
		{my, "x=1--1 and `it's`='$(domain)' # it's", "x=1--1 and `it's`=$1 # it's | d", nil},
		{pg, `"it's"='$(domain)' and a #>> '{b}' = 'c'`, `"it's"=$1 and a #>> '{b}' = 'c' | d`, nil},
		{both, "x='\x83\\\x83' and y='\xff$(domain)'", "x='\x83\\\x83' and y=$1 | \xffd", nil},
		// What cannot be one parameter.
		{both, "from users_$(domain)", "", errGlue},
		{both, "from $(domain)_users", "", errGlue},
		{both, "from a$$(domain)", "", errGlue},
		{both, "x=$(local_part)$(domain)", "", errGlue},
		{both, "x='a'$(domain)", "", errGlue},
		{both, "x=$(domain)'a'", "", errGlue},
		{both, "x='$(domain)'a", "", errGlue},
		{both, "x='\u00e9'$(domain)", "", errGlue},
		{both, "x='$(local_part)' '@example.com'", "", errGlue},
		{both, "x='a@' '$(domain)'", "", errGlue},
		{both, "$(domain)='a'", "$1='a' | d", nil},
		{my, `select '$(local_part)' "@example.com"`, "", errGlue},
		{pg, `select '$(local_part)' "login"`, `select $1 "login" | a'b\`, nil},
		{both, "x=\u00e9$(domain)", "", errGlue},
		{both, "x=E'$(domain)'", "", errGlue},
		{both, "x=n'$(domain)'", "", errGlue},
		{both, "x=X'$(domain)'", "", errGlue},
		{both, "x=U&'$(domain)'", "", errGlue},
		{both, "x=_latin1'$(domain)'", "", errGlue},
		{both, "x=_utf8mb4 \t'$(domain)'", "", errGlue},
		{both, `x='\$(domain)'`, "", errBackslash},
		{both, `x='$(domain)\\'`, "", errBackslash},
		{both, "x=1 /* $(domain) */", "", errComment},
		{both, "x=1 /*!50000 and y='$(domain)' */", "", errComment},
		{both, "x=1 -- $(domain)", "", errComment},
		{my, "x=1 # $(domain)", "", errComment},
		{my, "from `$(domain)`", "", errName},
		{pg, `from "$(domain)"`, "", errName},
		{pg, "x=$q$ $(domain) $q$", "", errDollar},
		{pg, "x=$$$(domain)$$", "", errDollar},
		{pg, "x=$1 and y='$(domain)'", "", errDollar},
		{pg, "x=$(domain", "", errDollar},
		// What servers read in two ways, or not at all.
		{both, `x='\' and y='$(domain)'`, "", errOpen},
		{both, `x='\'' and y='$(domain)'`, "", errOpen},
		{both, `x='\''' or y='$(domain)'`, "", errOpen},
		{both, "x='$(domain)", "", errOpen},
		{both, `x="$(domain)`, "", errOpen},
		{my, "x=`$(domain)", "", errOpen},
		{both, "x='$(domain)' /* ", "", errOpen},
	} {
		for _, d := range test.in {
			q, err := d.Parse(test.sql)
			if err != test.err && (test.err == nil || !strings.HasPrefix(err.Error(), test.err.Error())) {
				t.Errorf("%s: error %v, want %v", test.sql, err, test.err)
				continue
			}
			if err == nil {
				if got := show(q, v); got != test.want {
					t.Errorf("%s\n got %s\nwant %s", test.sql, got, test.want)
				}
			}
		}
	}
	_, err := PostgreSQL.Parse("select * from t where x=U&'$(domain)'")
	if want := errGlue.Error() + ": '$(domain)', character 27 of the query"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestGenerated: placeholders mean nothing in the names of tables and columns.
func TestGenerated(t *testing.T) {
	q := newQuery("SELECT '$(domain)' WHERE id = ").param(segment{value: user}).raw(" AND (a='b')")
	const want = "SELECT '$(domain)' WHERE id = $1 AND (a='b') | u'x"
	if got := show(q, &Values{User: "u'x"}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzParse checks that everything outside of the parameters is as the file has it, in its order, and that
// the parameters have the rest: no text is lost, and none is new.
func FuzzParse(f *testing.F) {
	for _, sql := range []string{
		"x='$(local_part)'", `E'\'$(domain)'`, "$q$ $(domain) $q$", "`$(domain)`", `"$(local_part)"`,
		"_gbk'$(domain)'", "-- $(domain)\n", "/* $(domain) */", "$(domain)", "\x83\\'$(domain)'", "U&'$(domain)'",
		"'$(domain)", `"a""$(domain)"`, "x='it''s $(domain)' and y=$(service)",
	} {
		f.Add(sql, true)
		f.Add(sql, false)
	}
	f.Fuzz(func(t *testing.T, sql string, mysql bool) {
		d := PostgreSQL
		if mysql {
			d = MySQL
		}
		q, err := d.Parse(sql)
		if err != nil {
			return
		}
		rest := sql
		for i, text := range q.text {
			after, ok := strings.CutPrefix(rest, text)
			if !ok {
				t.Fatalf("%q does not go on with %q", rest, text)
			}
			if i == len(q.params) {
				if after != "" {
					t.Fatalf("%q is left over", after)
				}
				break
			}
			// The parameter: a placeholder, or a string in quotes that is closed, has no backslash, and stands alone.
			n := strings.IndexByte(after, ')') + 1
			if quote := after[:1]; quote != "$" {
				if quote != "'" && (quote != `"` || !mysql) {
					t.Fatalf("%q begins no string", after)
				}
				n = 1
				for after[n:n+1] != quote || strings.HasPrefix(after[n+1:], quote) {
					if after[n:n+1] == quote {
						n++
					}
					n++
				}
				n++
			}
			if strings.Contains(after[:n], `\`) && after[0] != '$' || !strings.Contains(after[:n], "$(") {
				t.Fatalf("%q became a parameter", after[:n])
			}
			rest = after[n:]
		}
		// The server reads no other parameters into it than those.
		sql = q.SQL(func(int) string { return " ? " })
		if again, err := d.Parse(sql); err != nil || len(again.params) > 0 || again.text[0] != sql {
			t.Fatalf("%q is read as %v, %v", sql, again, err)
		}
	})
}
