package userdb

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailproxy/authlib"
	"mailproxy/authlib/password"
)

// install copies the test data into a directory of the test's own, with or without the .dat files, and
// returns a module.
func install(t *testing.T, withDat bool, c Config) (*Module, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "userdb")
	for _, suffix := range []string{"", ".dat", "shadow.dat"} {
		if suffix != "" && !withDat {
			break
		}
		data, err := os.ReadFile("testdata/userdb" + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.Path = path
	m := New(c)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, path
}

// kinds are the three ways to read the same accounts.
var kinds = []struct {
	name   string
	dat    bool
	config Config
	source string
}{
	{"text", false, Config{}, "*userdb.index"},
	{"oneshot", false, Config{OneShot: true}, "userdb.scan"},
	{"dat", true, Config{}, "*userdb.dat"},
}

// show prints an account on one line.
func show(a *authlib.Account, err error) string {
	if errors.Is(err, authlib.ErrRefused) {
		return "refused"
	}
	if err != nil {
		return "error " + err.Error()
	}
	return fmt.Sprintf("%d/%d %s %s name=%s maildir=%s quota=%s hash=%.3s clear=%s %s", *a.UID, *a.GID, a.Home,
		a.Address, a.FullName,
		a.Maildir, a.Quota, a.CryptPassword, a.ClearPassword, a.Options)
}

func login(m *Module, service, user, pw string) string {
	return show(m.Authenticate(context.Background(),
		&authlib.AuthRequest{Service: service, Type: authlib.AuthLogin, User: user, Password: pw}))
}

func TestLogin(t *testing.T) {
	ann := "1000/1001 /home/a a@x.org name=Anton Smith maildir=/home/a/Maildir quota=1000S hash=$1$ " +
		"clear=secret mailhost=127.0.0.2,disableimap=0"
	plain := func(name, hash string) string {
		return "1000/1000 /h " + name + " name= maildir= quota= hash=" + hash + " clear=secret "
	}
	for _, kind := range kinds {
		m, _ := install(t, kind.dat, kind.config)
		for _, test := range []struct{ service, user, pw, want string }{
			{"imap", "a@x.org", "secret", ann},
			{"imap", "a@x.org", "wrong", "refused"},
			{"imap", "a@x.org", "", "refused"},
			{"imap", "A@x.org", "secret", "refused"},
			{"imap", "nobody", "secret", "refused"},
			{"imap", "", "secret", "refused"},
			{"imap", "# comment", "secret", "refused"},
			{"imap", "svc", "secret", "refused"},
			{"imap", "svc", "imapsecret", "1000/1001 /home/a svc name= maildir= quota= hash=$1$ clear=imapsecret "},
			{"pop3", "svc", "imapsecret", "refused"},
			{"pop3", "svc", "secret", "1000/1001 /home/a svc name= maildir= quota= hash=$1$ clear=secret "},
			{"pop3", "onlyimap", "imapsecret", "refused"},
			{"imap", "nopw", "", "refused"},
			{"imap", "nouid", "secret", "error account \"nouid\" cannot be used: no uid"},
			{"imap", "nogid", "secret", "error account \"nogid\" cannot be used: no gid"},
			{"imap", "nohome", "secret", "error account \"nohome\" cannot be used: no home"},
			{"imap", "root0", "secret",
				"error account \"root0\" cannot be used: uid=\"0\": not a decimal number from 1 to 4294967294"},
			{"imap", "baduid", "secret",
				"error account \"baduid\" cannot be used: uid=\"abc\": not a decimal number from 1 to 4294967294"},
			{"imap", "des", "secret", plain("des", "H6k")},
			{"imap", "sha", "secret", plain("sha", "{SH")},
			{"imap", "dup", "secret", plain("dup", "$1$")},
			{"imap", "emptypw", "", "refused"},
			{"imap", "with space", "secret", plain("with space", "$1$")},
			{"imap", "six", "secret", plain("six", "$6$")},
			{"imap", "yes", "secret", plain("yes", "$y$")},
			{"imap", "sys", "secret", plain("sys", "$1$") + "group=own"},
			{"x|systempw=$1$a$b|y", "sys", "secret", plain("sys", "$1$") + "group=own"},
			{"imap", "a@x.org\tuid=1", "secret", "refused"},
		} {
			if got := login(m, test.service, test.user, test.pw); got != test.want {
				t.Errorf("%s: login %s %q %q:\n got %s\nwant %s", kind.name, test.service, test.user, test.pw, got,
					test.want)
			}
		}
		if got := fmt.Sprintf("%T", m.source); got != kind.source {
			t.Errorf("%s read %s, want %s", kind.name, got, kind.source)
		}
	}
}

// TestHostileIDs: an id that is none is a mistake in the data, however it is asked for.
func TestHostileIDs(t *testing.T) {
	for _, field := range []string{"uid", "gid"} {
		for _, value := range []string{"0", "4294967295", "4294967296", "-1", "+5", " 5", "5 ", "5001x", "0x5",
			""} {
			fields := map[string]string{"uid": "1000", "gid": "1000"}
			fields[field] = value
			line := "ann\tuid=" + fields["uid"] + "|gid=" + fields["gid"] +
				"|home=/h|systempw={SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
			path := filepath.Join(t.TempDir(), "userdb")
			if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
				t.Fatal(err)
			}
			m := New(Config{Path: path})
			for _, got := range []string{login(m, "imap", "ann", "secret"), login(m, "imap", "ann", "wrong"),
				show(m.Lookup(context.Background(), &authlib.LookupRequest{Service: "imap", User: "ann"}))} {
				if !strings.HasPrefix(got, `error account "ann" cannot be used: `) || !strings.Contains(got, field) ||
					!strings.Contains(got, value) {
					t.Errorf("%s=%q: %s", field, value, got)
				}
			}
			if err := m.Enumerate(context.Background(),
				func(a *authlib.Account) error { return fmt.Errorf("%+v", a) }); err != nil {
				t.Errorf("%s=%q is listed: %v", field, value, err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestBlankForTab: the account is there, and the log says what is wrong with its line.
func TestBlankForTab(t *testing.T) {
	const text = "ann uid=5|gid=5|home=/h|systempw={SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n" +
		"bob     uid=5|gid=5|home=/h\n" +
		"with blank\tuid=5|gid=5|home=/h|systempw={SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nno account\n"
	path := filepath.Join(t.TempDir(), "userdb")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, oneShot := range []bool{false, true} {
		m := New(Config{Path: path, OneShot: oneShot})
		for user, want := range map[string]string{
			"ann":  `error account "ann" cannot be used: a space instead of a TAB after the name in userdb`,
			"bob":  `error account "bob" cannot be used: a space`,
			"with": "refused", "no": "refused", "with blank": "5/5 /h with blank",
		} {
			if got := login(m, "imap", user, "secret"); !strings.HasPrefix(got, want) {
				t.Errorf("%v, %s: %s, want %s", oneShot, user, got, want)
			}
		}
		err := m.ChangePassword(context.Background(), &authlib.PasswordRequest{Service: "imap", User: "ann",
			OldPassword: "secret", NewPassword: "x"})
		if got := show(nil, err); !strings.HasPrefix(got, `error account "ann" cannot be used`) {
			t.Errorf("change of password: %s", got)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLookup(t *testing.T) {
	for _, kind := range kinds {
		m, _ := install(t, kind.dat, kind.config)
		for _, test := range []struct{ service, user, want string }{
			{"imap", "a@x.org", "1000/1001 /home/a a@x.org name=Anton Smith maildir=/home/a/Maildir quota=1000S " +
				"hash=$1$ clear= mailhost=127.0.0.2,disableimap=0"},
			{"pop3", "onlyimap", "1000/1001 /home/a onlyimap name= maildir= quota= hash= clear= "},
			{"imap", "onlygecos", "1000/1000 /h onlygecos name=Just Name maildir= quota= hash= clear= "},
			{"imap", "nohome", `error account "nohome" cannot be used: no home`},
			{"imap", "nobody", "refused"},
		} {
			got := show(m.Lookup(context.Background(), &authlib.LookupRequest{Service: test.service, User: test.user}))
			if got != test.want {
				t.Errorf("%s: lookup %s %q:\n got %s\nwant %s", kind.name, test.service, test.user, got, test.want)
			}
		}
	}
}

func TestCRAM(t *testing.T) {
	challenge := []byte("<1@x>")
	mac := hmac.New(sha1.New, []byte("secret"))
	mac.Write(challenge)
	digest := hex.EncodeToString(mac.Sum(nil))
	m, _ := install(t, true, Config{})
	ask := func(user, digest string) string {
		return show(m.Authenticate(context.Background(),
			&authlib.AuthRequest{Service: "imap", Type: authlib.AuthCRAMSHA1,
				Challenge: challenge, Response: []byte(user + " " + digest)}))
	}
	// Nothing about the password, nor name nor quota: as Courier's module answers.
	want := "1000/1001 /home/a a@x.org name= maildir=/home/a/Maildir quota= hash= clear= " +
		"mailhost=127.0.0.2,disableimap=0"
	if got := ask("a@x.org", digest); got != want {
		t.Errorf("got %s", got)
	}
	for _, user := range []string{"six", "nobody", ""} {
		if got := ask(user, digest); got != "refused" {
			t.Errorf("%q: got %s", user, got)
		}
	}
	// A locked hash does not lock CRAM where a secret is stored, as with Courier. Where nothing is stored for
	// the mechanism nothing was found wrong.
	for fields, want := range map[string]error{
		"systempw=x": authlib.ErrNoSecret, "systempw={PLAIN}other": authlib.ErrRefused,
		"systempw={PLAIN}secret": nil,
		"hmac-sha1pw=" + password.CRAMSecret("secret", authlib.AuthCRAMSHA1):             nil,
		"systempw=!x|hmac-sha1pw=" + password.CRAMSecret("secret", authlib.AuthCRAMSHA1): nil,
		"systempw=!x": authlib.ErrRefused,
	} {
		path := filepath.Join(t.TempDir(), "userdb")
		if err := os.WriteFile(path, []byte("u\tuid=1000|gid=1000|home=/h|"+fields+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		m := New(Config{Path: path})
		_, err := m.Authenticate(t.Context(), &authlib.AuthRequest{Service: "imap", Type: authlib.AuthCRAMSHA1,
			Challenge: challenge, Response: []byte("u " + digest)})
		if !errors.Is(err, want) || errors.Is(err, authlib.ErrNoSecret) != (want == authlib.ErrNoSecret) {
			t.Errorf("%s: %v, want %v", fields, err, want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := ask("a@x.org", strings.Repeat("0", 40)); got != "refused" {
		t.Errorf("wrong digest: got %s", got)
	}
}

func TestEnumerate(t *testing.T) {
	for _, kind := range kinds {
		m, _ := install(t, kind.dat, kind.config)
		var names []string
		err := m.Enumerate(context.Background(), func(a *authlib.Account) error {
			if strings.HasPrefix(a.Address, "bulk") {
				return nil
			}
			names = append(names, a.Address)
			return nil
		})
		sort.Strings(names)
		want := "Upper a@x.org des dup emptypw nopw onlygecos onlyimap sha six svc sys with space yes ünï"
		if got := strings.Join(names, " "); got != want || err != nil {
			t.Errorf("%s: %v\n got %s\nwant %s", kind.name, err, got, want)
		}
	}
}

func TestFiles(t *testing.T) {
	// Time passes between any two questions.
	var clock atomic.Int64
	clock.Store(time.Now().UnixNano())
	tick := func() time.Time { return time.Unix(0, clock.Add(int64(busyTime))) }
	m, path := install(t, false, Config{now: tick})
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	account := "uid=1|gid=1|home=/h|systempw={SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
	// A change is seen by the next question.
	write(path, "new\t"+account+"\nnew\tuid=5|gid=5|home=/twice\n", 0o600)
	if got := login(m, "imap", "new", "secret"); !strings.HasPrefix(got, "1/1 ") {
		t.Errorf("changed file: %s", got)
	}
	// A file that others may read is refused; the accounts stay.
	var lines []string
	m.config.Log = func(line string) { lines = append(lines, line) }
	write(path, "newer\t"+account+"\n", 0o640)
	for range 3 {
		if got := login(m, "imap", "new", "secret"); !strings.HasPrefix(got, "1/1 ") {
			t.Errorf("refused file: %s", got)
		}
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "group and world must have no access") {
		t.Errorf("log: %q", lines)
	}
	fresh := New(Config{Path: path})
	if got := login(fresh, "imap", "newer", "secret"); !strings.HasPrefix(got, "error ") ||
		strings.Contains(got, "refused") {
		t.Errorf("refused file without an older one: %s", got)
	}
	if err := fresh.Check(); err == nil {
		t.Error("Check found nothing wrong")
	}
	// chmod alone repairs it, within a second.
	write(path, "newer\t"+account+"\n", 0o600)
	clock.Add(int64(quietTime))
	if got := login(m, "imap", "newer", "secret"); !strings.HasPrefix(got, "1/1 ") {
		t.Errorf("repaired file: %s", got)
	}
	// A file that vanishes takes no account away: nobody's password is wrong.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	clock.Add(int64(quietTime))
	if got := login(m, "imap", "newer", "secret"); !strings.Contains(got, path+": no such file any more") ||
		!strings.Contains(got, "makeuserdb") {
		t.Errorf("no file: %s", got)
	}
	// A directory; dot-files are skipped; CRLF and a missing last newline are taken.
	if err := os.MkdirAll(path+"/sub/.hidden", 0o700); err != nil {
		t.Fatal(err)
	}
	write(path+"/b", "b\t"+account, 0o600)
	write(path+"/sub/c", "c\t"+account+"\r\n", 0o644)
	write(path+"/.a", "a\t"+account+"\n", 0o600)
	write(path+"/sub/.hidden/d", "d\t"+account+"\n", 0o600)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, module := range []*Module{m, New(Config{Path: path, OneShot: true})} {
		for user, want := range map[string]string{"a": "refused", "b": "1/1 ", "c": "1/1 ", "d": "refused"} {
			if got := login(module, "imap", user, "secret"); !strings.HasPrefix(got, want) {
				t.Errorf("directory, %s: %s", user, got)
			}
		}
	}
	if got := login(m, "imap", "c", "secret"); !strings.HasSuffix(got, "clear=secret ") {
		t.Errorf("directory, CRLF: %q", got)
	}
	// Of another size: within one tick of the kernel's clock nothing else tells the files apart.
	write(path+"/sub/c", "another\t"+account+"\n", 0o600)
	clock.Add(int64(quietTime))
	if got := login(m, "imap", "another", "secret"); !strings.HasPrefix(got, "1/1 ") {
		t.Errorf("changed file in a directory: %s", got)
	}
}

// TestMissing: a database that never was is told from one that has vanished, and from half of one.
func TestMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "userdb")
	for _, oneShot := range []bool{false, true} {
		m := New(Config{Path: path, OneShot: oneShot})
		errs := map[string]error{"Check": m.Check()}
		_, errs["Lookup"] = m.Lookup(t.Context(), &authlib.LookupRequest{Service: "imap", User: "ann"})
		errs["ChangePassword"] = m.ChangePassword(t.Context(), &authlib.PasswordRequest{Service: "imap",
			User: "ann", OldPassword: "old", NewPassword: "new"})
		errs["Enumerate"] = m.Enumerate(t.Context(), func(*authlib.Account) error { return nil })
		for what, err := range errs {
			if !errors.Is(err, authlib.ErrNoDatabase) || !strings.Contains(err.Error(), path) {
				t.Errorf("one shot %v, %s: %v", oneShot, what, err)
			}
		}
	}
	m, path := install(t, true, Config{})
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, path + "shadow.dat"} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	for _, half := range []*Module{New(Config{Path: path}), New(Config{Path: path, OneShot: true})} {
		err := half.Check()
		if err == nil || errors.Is(err, authlib.ErrNoDatabase) || !strings.Contains(err.Error(), "makeuserdb") {
			t.Errorf("half a database: %v", err)
		}
	}
}

func TestAge(t *testing.T) {
	hours := 0
	m, path := install(t, true,
		Config{now: func() time.Time { hours++; return time.Now().Add(time.Duration(hours) * time.Hour) }})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path,
		append([]byte("young\tuid=1|gid=1|home=/h|systempw={SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"),
			text...), 0o600); err != nil {
		t.Fatal(err)
	}
	// Two files that are written one after the other may well have the same time.
	young := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, young, young); err != nil {
		t.Fatal(err)
	}
	if got := login(m, "imap", "young", "secret"); !strings.HasPrefix(got, "1/1 ") {
		t.Errorf("text younger than .dat: %s", got)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if got := login(m, "imap", "young", "secret"); got != "refused" {
		t.Errorf("text older than .dat: %s", got)
	}
	if err := os.Remove(path + "shadow.dat"); err != nil {
		t.Fatal(err)
	}
	if got := login(m, "imap", "young", "secret"); !strings.HasPrefix(got, "1/1 ") {
		t.Errorf("incomplete .dat: %s", got)
	}
	if err := os.WriteFile(path+"shadow.dat", []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := login(New(Config{Path: path}), "imap", "young", "secret"); !strings.Contains(got,
		"shadow.dat: damaged GDBM file") {
		t.Errorf("damaged .dat: %s", got)
	}
}

// TestConcurrent replaces the files under readers.
func TestConcurrent(t *testing.T) {
	m, path := install(t, true, Config{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if got := login(m, "imap", "sha", "secret"); !strings.HasPrefix(got, "1000/1000") {
					t.Errorf("got %s", got)
					return
				}
			}
		})
	}
	for i := range 20 {
		now := time.Now().Add(time.Duration(i%2*2-1) * time.Hour)
		if err := os.Chtimes(path, now, now); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond) // a pause between two changes, so that logins come between them
	}
	wg.Wait()
}

func FuzzText(f *testing.F) {
	f.Add("a\tuid=1|gid=2|home=/h\n# c\n\nb\tuid=x\r\na\ttwice", "a", "uid")
	f.Add("\n\t\n\tx=\n|=|", "", "")
	f.Add("a uid=1|gid=2\na b\tuid=1\nc d\n", "a", "uid")
	f.Fuzz(func(t *testing.T, text, name, field string) {
		x := parseIndex(text)
		byScan := make(map[string]string)
		err := eachLine(strings.NewReader(text), "", func(n string, fields record) error {
			if _, twice := byScan[n]; !twice {
				byScan[n] = string(fields)
			}
			return nil
		})
		if err != nil {
			return
		}
		if len(byScan) != len(x.accounts) {
			t.Errorf("scan found %d accounts, index %d", len(byScan), len(x.accounts))
		}
		for n, fields := range byScan {
			if r, ok, _ := x.find(n); !ok || string(r) != fields {
				t.Errorf("%q: scan %q, index %q", n, fields, r)
			}
		}
		r, _, _ := x.find(name)
		value, ok := r.get(field)
		if ok && !strings.Contains(string(r), field+"="+value) {
			t.Errorf("get made up %q", value)
		}
		if ok && field != "" && !strings.ContainsAny(field, "|=") {
			changed := r.replace(map[string]string{field: "new"})
			if got, _ := changed.get(field); got != "new" {
				t.Errorf("%q after replace: %q", field, got)
			}
		}
		_, _ = r.account(name)
	})
}
