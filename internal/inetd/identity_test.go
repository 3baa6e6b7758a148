package inetd

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFirstUser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwd")
	text := "root:x:0:0:root:/root:/bin/sh\ncourier2:x:9:9::/:/bin/false\nshort:x\ncourier:x:104:111::/var/lib/courier:/bin/false\n" +
		"bad:x:many:1::/:/bin/false\nnobody:x:65534:65534::/:/bin/false"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names    []string
		want     string
		uid, gid uint32
	}{
		{[]string{"mailproxy", "courier", "nobody"}, "courier", 104, 111},
		{[]string{"mailproxy", "nobody"}, "nobody", 65534, 65534},
		{[]string{"short", "root"}, "root", 0, 0},
		{[]string{"mailproxy"}, "", 0, 0},
		{[]string{"bad", "nobody"}, "", 0, 0},
	} {
		name, id, err := firstUser(file, c.names)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%q: found %s", c.names, name)
		case c.want != "" && (err != nil || name != c.want || id.uid != c.uid || id.gid != c.gid):
			t.Errorf("%q: %s, %+v, %v", c.names, name, id, err)
		}
	}
	if _, _, err := firstUser(file+".none", []string{"root"}); err == nil {
		t.Error("no error without a file")
	}
}
