package resident

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mailproxy/internal/config"
	"mailproxy/internal/launch"
	"mailproxy/internal/login"
)

// keyGroup is the group that may read private keys and the master password's file.
const keyGroup = "mailproxy-keys"

// checkFiles says which of the files that the settings name cannot be read by this process, and what mends
// that: a line for each. tls: there are sockets whose connections begin with TLS.
func checkFiles(c *config.Config, tls bool) error {
	errs := []error{
		usable("AUTHDAEMON_SOCKET", c.AuthSocket, connecting),
		usable("AUTHDAEMON_PROGRAM", c.AuthProgram, running),
		usable("AUTHDAEMON_CONFIG", c.AuthDirectory, entering),
	}
	if tls || c.Encrypted || c.StartTLS {
		errs = append(errs, named("TLS_CERTFILE", certificates(c.TLS.CertFile)...),
			named("TLS_PRIVATE_KEYFILE", certificates(c.TLS.KeyFile)...))
		if c.TLS.Verify != config.VerifyNone {
			errs = append(errs, named("TLS_TRUSTCERTS", c.TLS.TrustCerts))
		}
		if c.TLS.CacheFile != "" {
			errs = append(errs, named("TLS_CACHEFILE", present(c.TLS.CacheFile+".keys")...))
		}
	}
	// An account may have mailhosttls where PROXY_TLS=NO.
	if (c.Proxy || c.Mailhost.Mode != config.ModeClear) && c.Mailhost.Verify != config.VerifyNone {
		errs = append(errs, named("PROXY_TLS_TRUSTCERTS", c.Mailhost.TrustCerts))
	}
	errs = append(errs,
		secret("PROXY_MASTER_PASSWORD_FILE", c.MasterFile, func() (err error) {
			_, err = login.MasterPassword(c)
			return err
		}),
		secret("SCRAM_SECRET_FILE", c.SCRAMSecretFile, func() (err error) {
			_, err = login.SCRAMSecret(c)
			return err
		}))
	return errors.Join(errs...)
}

// secret says what is wrong with the file of a secret: that it cannot be read, or what a login would find.
func secret(setting, path string, read func() error) error {
	if err := named(setting, path); err != nil || path == "" {
		return err
	}
	return read()
}

// anyTLS says whether there are sockets whose connections begin with TLS.
func anyTLS(s *launch.Sockets) bool {
	return slices.ContainsFunc(s.Listeners, func(l *launch.Listener) bool { return l.TLS })
}

// certificates are the files of a setting, and those for one name or address beside them.
func certificates(value string) (list []string) {
	for _, path := range config.FileNames(value) {
		list = append(list, path)
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			continue // a directory that may be entered but not listed
		}
		for _, entry := range entries {
			suffix, ok := strings.CutPrefix(entry.Name(), filepath.Base(path)+".")
			// Not a copy that somebody keeps: imapd.pem.old
			if ok && strings.ContainsAny(suffix, ".:") {
				list = append(list, filepath.Join(filepath.Dir(path), entry.Name()))
			}
		}
	}
	return list
}

// present returns the path unless nothing is there.
func present(path string) []string {
	if err := unix.Access(path, unix.F_OK); err == unix.ENOENT {
		return nil
	}
	return []string{path}
}

// named is readable for the files of one setting.
func named(setting string, paths ...string) error {
	var errs []error
	for _, path := range paths {
		if err := readable(path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", setting, err))
		}
	}
	return errors.Join(errs...)
}

// readable says which of the files, or directories, cannot be read, and what mends that.
func readable(paths ...string) error {
	var errs []error
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := unix.Access(path, unix.R_OK); err != nil {
			errs = append(errs, denied(reading, path, err))
		}
	}
	return errors.Join(errs...)
}

// usable says that something of the auth daemon may not be used by this process. What is not there yet may
// come.
func usable(setting, path string, u use) error {
	if path == "" {
		return nil
	}
	err := unix.Access(path, u.mode)
	if !errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return fmt.Errorf("%s: %w", setting, denied(u, path, err))
}

// use is what is done with a file, and the rights that setfacl gives for it.
type use struct {
	verb   string
	mode   uint32
	rights string
}

var (
	reading    = use{"read", unix.R_OK, ""} // chgrp and chmod do
	connecting = use{"connect to", unix.W_OK, "rw"}
	running    = use{"run", unix.X_OK, "rx"}
	entering   = use{"enter", unix.X_OK, "x"}
)

// denied says what cannot be done with a file, by whom, and which command mends it.
func denied(u use, path string, err error) error {
	name := ourName()
	failed := fmt.Errorf("user %s cannot %s %s: %w", name, u.verb, path, err)
	if !errors.Is(err, fs.ErrPermission) {
		return failed
	}
	dir := closedDirectory(path)
	info, _ := os.Stat(path)
	switch {
	case dir != "":
		return fmt.Errorf("%w, as it may not enter %s; this helps: setfacl -m u:%s:x %s", failed, dir, name, dir)
	case u.rights != "":
		return fmt.Errorf("%w; this helps: setfacl -m u:%s:%s %s", failed, name, u.rights, path)
	case info != nil && info.IsDir():
		return fmt.Errorf("%w; this helps: setfacl -m u:%s:rx %s", failed, name, path)
	}
	return fmt.Errorf("%w; this helps: %schgrp %s %s; chmod 0640 %s",
		failed, membership(name), keyGroup, path, path)
}

// closedDirectory returns the first directory on the way to a file that this process may not enter, or "".
func closedDirectory(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	parts := strings.Split(filepath.Dir(path), "/")
	for i := range parts {
		dir := "/" + strings.Join(parts[1:i+1], "/")
		if err := unix.Access(dir, unix.X_OK); err == unix.EACCES {
			return dir
		}
	}
	return ""
}

// membership is the command that makes this process a member of keyGroup when it is started next; "" when it
// is one.
func membership(name string) string {
	group, err := user.LookupGroup(keyGroup)
	if err != nil {
		return fmt.Sprintf("groupadd -r %s; usermod -a -G %s %s; ", keyGroup, keyGroup, name)
	}
	groups, err := unix.Getgroups()
	gid, aerr := strconv.Atoi(group.Gid)
	if errors.Join(err, aerr) == nil && (slices.Contains(groups, gid) || os.Getegid() == gid) {
		return ""
	}
	return fmt.Sprintf("usermod -a -G %s %s; ", keyGroup, name)
}

// ourName is the user that this process is.
func ourName() string {
	uid := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}
