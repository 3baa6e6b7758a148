package sqlaccount

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func pg() Dialect    { return Dialect{} }
func mysql() Dialect { return Dialect{MySQL: true, Backslash: true} }

// show compiles a template and writes the statement and its parameters down.
func show(t *Template, d Dialect, v *Values) string {
	q, err := t.Compile(d)
	if err != nil {
		return "error: " + err.Error()[strings.LastIndex(err.Error(), ": ")+2:]
	}
	sql, params, err := q.SQL(v)
	if err != nil {
		return "error: " + err.Error()
	}
	var b strings.Builder
	b.WriteString(sql)
	for _, p := range params {
		fmt.Fprintf(&b, " | %s", p)
	}
	return b.String()
}

func TestCompile(t *testing.T) {
	sjis := Dialect{MySQL: true, Backslash: true, Multibyte: Multibyte("sjis")}
	v := &Values{LocalPart: `a'b\`, Domain: "d", service: "imap", User: "u", newPass: "n", newPassCrypt: "c"}
	for _, test := range []struct {
		d         Dialect
		sql, want string
	}{
		// Whole literals, and literals with other text.
		{pg(), "x='$(local_part)' and y='$(domain)'", `x=$1 and y=$2 | a'b\ | d`},
		{Dialect{Text: true}, "x=concat('$(local_part)', '$(domain)')", `x=concat($1::text, $2::text) | a'b\ | d`},
		{mysql(), "x='$(local_part)' and y='$(domain)'", `x=? and y=? | a'b\ | d`},
		{pg(), "x='$(local_part)@$(domain)'", `x=$1 | a'b\@d`},
		{pg(), "x='it''s $(service)'", `x=$1 | it's imap`},
		{pg(), "x='$(newpass)',y='$(newpass_crypt)'", `x=$1,y=$2 | n | c`},
		// Unknown placeholders are empty, dollars that are none stay.
		{pg(), "x='$(nobody)' || '$(domain)$(nobody)'", `x='' || $1 | d`},
		{pg(), "x='$' and y='$(' and z=$", `x='$' and y='$(' and z=$`},
		{pg(), "x=$(nobody) 1", `x=  1`},
		{pg(), "x='$x$(domain)$'", `x=$1 | $xd$`},
		// Bare ones, and glued ones.
		{pg(), "x=$(local_part) or y=($(domain))", `x=$1 or y=($2) | a'b\ | d`},
		{mysql(), "x=$(local_part)", `x=? | a'b\`},
		{pg(), "from users_$(domain)", "error: " + errGlue.Error()},
		{pg(), "from $(domain)_users", "error: " + errGlue.Error()},
		{pg(), "x=$(local_part)$(domain)", "error: " + errGlue.Error()},
		// Backslashes by the server's rules.
		{pg(), `x='\' and y='$(domain)'`, `x='\' and y=$1 | d`},
		{mysql(), `x='\'' and y='\'$(domain)\n\%\Z\q'`, `x='\'' and y=? | 'd` + "\n\\%\x1aq"},
		{Dialect{MySQL: true}, `x='\' and y='$(domain)\'`, `x='\' and y=? | d\`},
		{Dialect{Backslash: true}, `x='\'' and y='$(domain)'`, `x='\'' and y=$1 | d`},
		{pg(), `x=E'\'$(domain)\x41\101\u00e9\U0001F600\n\q'`, `x=$1 | 'dAAé😀` + "\nq"},
		{pg(), `x=e'\\' and y=E'''$(domain)'`, `x=e'\\' and y=$1 | 'd`},
		{pg(), `x=te'$(domain)'`, `x=te$1 | d`}, // nonsense, as it was before
		// Dollar quotes.
		{pg(), `x=$q$a'$(domain)$q$ and y=$$b$$`, `x=$1 and y=$$b$$ | a'd`},
		{pg(), `x=$1 and y='$(domain)'`, `x=$1 and y=$1 | d`},
		{pg(), `x=$q$ open`, "error: " + errOpen.Error()},
		{pg(), `x=a$q$ and y='$(domain)'`, `x=a$q$ and y=$1 | d`},
		{mysql(), `x=$q$ and y='$(domain)'`, `x=$q$ and y=? | d`},
		// Strings and names in other quotes.
		{mysql(), `x="a'$(domain)""b"`, `x=? | a'd"b`},
		{pg(), `select "na$(domain)""me" from t`, `select "nad""me" from t`},
		{Dialect{MySQL: true, ANSIQuotes: true}, `"t$(local_part)"`, `"ta'b\"`},
		{mysql(), "from `t``$(local_part)` where a='$(domain)'", "from `t``a'b\\` where a=? | d"},
		// Literals that SQL takes no parameter for.
		{mysql(), "x=_latin1'$(local_part)'", `x=_latin1 X'6127625C'`},
		{mysql(), `x=_utf8mb4 'fixed' and y='$(domain)'`, `x=_utf8mb4 'fixed' and y=? | d`},
		{mysql(), `x=n'$(domain)'`, `x=? | d`},
		{pg(), `x=X'$(domain)'`, "error: " + errKind.Error()},
		{pg(), `x=U&'$(domain)'`, "error: " + errKind.Error()},
		{pg(), `x=U&'\0041' and y='$(domain)'`, `x=U&'\0041' and y=$1 | d`},
		{mysql(), `x=b'01' and y='$(domain)'`, `x=b'01' and y=? | d`},
		// Comments.
		{pg(), "x=1 -- '$(domain)\n and y='$(domain)'", "x=1 -- ' \n and y=$1 | d"},
		{pg(), "x=/* ' /* $(domain) */ ' */ '$(domain)'", "x=/* ' /*   */ ' */ $1 | d"},
		{mysql(), "x=/* ' /* $(domain) */ '$(domain)'", "x=/* ' /*   */ ? | d"},
		{mysql(), "x=1 # '$(domain)\n and y='$(domain)'", "x=1 # ' \n and y=? | d"},
		{mysql(), "x=1--1 and y='$(domain)'", "x=1--1 and y=? | d"},
		{mysql(), "x=1 /*! and y='$(domain)' */", "error: " + errKind.Error()},
		{pg(), "x=# '$(domain)'", "x=# $1 | d"},
		{pg(), "x='open $(domain)", "error: " + errOpen.Error()},
		{pg(), "/* /* */", "error: " + errOpen.Error()},
		// Two-byte characters whose second byte is a backslash.
		{sjis, "x='\x83\x5c' and y='\x83\x5c$(domain)'", "x='\x83\x5c' and y=? | \x83\x5cd"},
		{mysql(), "x='\x83\x5c' and y='$(domain)'", "error: " + errOpen.Error()},
	} {
		if got := show(Text(test.sql), test.d, v); got != test.want {
			t.Errorf("%+v %s\n got %s\nwant %s", test.d, test.sql, got, test.want)
		}
	}
}

func TestGenerated(t *testing.T) {
	v := &Values{User: "u'x"}
	tmpl := raw("SELECT '$(domain)' WHERE id = ").user().Raw(" AND (a='b')")
	if got, want := show(tmpl, pg(), v), "SELECT '$(domain)' WHERE id = $1 AND (a='b') | u'x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestValuesThatCannotBeWritten(t *testing.T) {
	gbk := Dialect{MySQL: true, Multibyte: Multibyte("gbk")}
	for _, test := range []struct {
		d     Dialect
		value string
		want  error
	}{
		{gbk, "plain", nil}, {gbk, "x\x81", ErrValue}, {mysql(), "x\x81", nil}, {mysql(), "x\x00", ErrValue},
	} {
		q, err := Text("select `$(domain)`").Compile(test.d)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := q.SQL(&Values{Domain: test.value}); !errors.Is(err, test.want) {
			t.Errorf("%q: %v, want %v", test.value, err, test.want)
		}
	}
}

// FuzzCompile checks that the statement does not depend on the values but for tokens that are closed in
// themselves.
func FuzzCompile(f *testing.F) {
	for _, sql := range []string{
		"x='$(local_part)'", `E'\'$(domain)'`, "$q$ $(domain) $q$", "`$(domain)`", `"$(local_part)"`,
		"_gbk'$(domain)'", "-- $(domain)\n",
		"/* $(domain) */", "$(domain)", "\x83\\'$(domain)'", "U&'$(domain)'", "'$(domain)",
	} {
		for _, value := range []string{"a", "' or 1=1 -- ", `\' or 1=1`, "$q$; drop", "*/", "`; x", `"`, "\x83",
			"$(domain)"} {
			for kind := range 6 {
				f.Add(sql, value, kind)
			}
		}
	}
	f.Fuzz(func(t *testing.T, sql, value string, kind int) {
		d := []Dialect{
			{}, {Backslash: true}, {MySQL: true, Backslash: true}, {MySQL: true},
			{MySQL: true, ANSIQuotes: true, Backslash: true},
			{MySQL: true, Backslash: true, Multibyte: Multibyte("gbk")},
		}[uint(kind)%6]
		q, err := Text(sql).Compile(d)
		if err != nil {
			return
		}
		v := &Values{value, value, value, value, value, value}
		got, _, err := q.SQL(v)
		if err != nil {
			return
		}
		if fixed, ok := q.Fixed(); ok && got != fixed {
			t.Fatalf("fixed statement changed: %q, %q", fixed, got)
		}
		for _, tok := range q.sql {
			if tok.quote == nil {
				if !strings.HasPrefix(got, tok.text) {
					t.Fatalf("%q does not go on with %q", got, tok.text)
				}
				got = got[len(tok.text):]
				continue
			}
			n := closed(got, d)
			if n == 0 {
				t.Fatalf("%q does not begin with a closed token", got)
			}
			got = got[n:]
		}
		if got != "" && len(q.sql) > 0 {
			t.Fatalf("%q is left over", got)
		}
	})
}

// closed returns the length of the quoted name or X” that s begins with, by another reading than the
// compiler's; 0 when there is none.
func closed(s string, d Dialect) int {
	if rest, ok := strings.CutPrefix(s, "X'"); ok {
		n := strings.IndexByte(rest, '\'')
		if n < 0 || strings.Trim(rest[:n], "0123456789ABCDEF") != "" {
			return 0
		}
		return n + 3
	}
	if s == "" || s[0] != '"' && s[0] != '`' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		if d.Multibyte != nil && s[i] >= 0x80 {
			return 0 // might swallow the closing quote
		}
		if s[i] == s[0] {
			if i+1 == len(s) || s[i+1] != s[0] {
				return i + 1
			}
			i++
		}
	}
	return 0
}
