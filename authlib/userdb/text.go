package userdb

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
)

// maxLine is the longest line that a text file may have, in bytes.
const maxLine = maxItem

// source finds accounts in whatever form the database has.
type source interface {
	// find returns the fields of an account.
	find(name string) (r record, ok bool, err error)
	// each calls yield for every account and ends with its first error.
	each(yield func(name string, r record) error) error
	close() error
}

// noTab is the record of a line with a blank where the TAB belongs: an account that cannot be used.
const noTab record = " no TAB"

// splitLine splits a line into name and fields, at the TAB, or else at the first blank (see fieldsOf); ok is
// false for comments and all other lines that are not accounts.
func splitLine(line string) (name, fields string, ok bool) {
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	if name, fields, ok = strings.Cut(line, "\t"); ok {
		return name, fields, name != ""
	}
	name, fields, ok = strings.Cut(line, " ")
	return name, fields, ok && name != "" && strings.Contains(fields, "=")
}

// fieldsOf returns the record of a line that was split.
func fieldsOf(line, name, fields string) record {
	if line[len(name)] != '\t' {
		return noTab
	}
	return record(fields)
}

// textFiles returns the path itself, or all files below it in the order of their names. Files and directories
// whose names begin with a dot are skipped, as makeuserdb skips them.
func textFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path+"/", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case p != path+"/" && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.IsDir():
			files = append(files, p)
		}
		return nil
	})
	sort.Strings(files)
	return files, err
}

// private refuses a database that others may read or write: it holds secrets that are as good as passwords.
func private(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s: mode %#o: group and world must have no access (chmod go= %s)",
			path, info.Mode().Perm(), path)
	}
	return nil
}

// openPrivate opens a regular file that nobody else may access. The directory is what protects the files of a
// directory.
func openPrivate(path string, check bool) (*os.File, error) {
	// Without O_NONBLOCK a FIFO in the directory would be waited for.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err == nil && check {
		err = private(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openText opens every text file of the database in turn.
func openText(path string, read func(*os.File) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := private(path, info); err != nil {
		return err
	}
	files, err := textFiles(path)
	if err != nil {
		return err
	}
	for _, name := range files {
		f, err := openPrivate(name, !info.IsDir())
		if err != nil {
			return err
		}
		err = read(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// index is a text database in memory: the files as they are, and a hash table of where each account stands in
// them. It has no pointers but one, so that the garbage collector does not walk it, and takes 8 to 24 bytes
// an account beside the text.
type index struct {
	text string
	seed maphash.Seed
	// accounts in the order of the text. table holds their numbers plus one at the hash of their names, open
	// addressing; 0 = empty. Its length is a power of two.
	accounts []position
	table    []uint32
}

// position is where an account is in index.text: name, tab (or blank), fields.
type position struct{ name, fields, end uint32 }

// loadIndex reads a text file or directory into memory.
func loadIndex(path string) (*index, error) {
	var text strings.Builder
	err := openText(path, func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.Size()+int64(text.Len()) > 1<<32-2 {
			return errors.New("too large")
		}
		text.Grow(int(info.Size()) + 1)
		if _, err := io.Copy(&text, f); err != nil {
			return err
		}
		// A last line without its newline must not run into the next file.
		return text.WriteByte('\n')
	})
	if err != nil {
		return nil, err
	}
	x := parseIndex(text.String())
	return x, nil
}

// parseIndex finds the accounts in a text. Of two accounts of a name the first counts.
func parseIndex(text string) *index {
	lines := strings.Count(text, "\n") + 1
	size := 2
	for size < lines+lines/2 {
		size *= 2
	}
	x := &index{
		text:     text,
		seed:     maphash.MakeSeed(),
		accounts: make([]position, 0, lines),
		table:    make([]uint32, size),
	}
	for from := 0; from < len(text); {
		to := len(text)
		if i := strings.IndexByte(text[from:], '\n'); i >= 0 {
			to = from + i
		}
		line := strings.TrimSuffix(text[from:to], "\r")
		if name, fields, ok := splitLine(line); ok {
			slot, known := x.slot(name)
			if !known {
				end := from + len(line)
				x.accounts = append(x.accounts, position{uint32(from), uint32(end - len(fields)), uint32(end)})
				x.table[slot] = uint32(len(x.accounts))
			}
		}
		from = to + 1
	}
	return x
}

// slot returns where a name is in the table, or where it belongs.
func (x *index) slot(name string) (slot int, known bool) {
	slot = int(maphash.String(x.seed, name)) & (len(x.table) - 1)
	for x.table[slot] != 0 {
		if p := x.accounts[x.table[slot]-1]; x.text[p.name:p.fields-1] == name {
			return slot, true
		}
		slot = (slot + 1) & (len(x.table) - 1)
	}
	return slot, false
}

func (x *index) find(name string) (record, bool, error) {
	slot, ok := x.slot(name)
	if !ok {
		return "", false, nil
	}
	return x.record(x.accounts[x.table[slot]-1]), true, nil
}

func (x *index) each(yield func(string, record) error) error {
	for _, p := range x.accounts {
		if err := yield(x.text[p.name:p.fields-1], x.record(p)); err != nil {
			return err
		}
	}
	return nil
}

func (x *index) record(p position) record {
	return fieldsOf(x.text[p.name:p.end], x.text[p.name:p.fields-1], x.text[p.fields:p.end])
}

func (x *index) close() error { return nil }

// scan is a text database that is read from the beginning for every question: what a process that answers one
// wants.
type scan struct{ path string }

var errFound = errors.New("found")

func (s scan) find(name string) (r record, ok bool, err error) {
	err = openText(s.path, func(f *os.File) error {
		return eachLine(f, name, func(_ string, fields record) error {
			r, ok = fields, true
			return errFound
		})
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return r, ok, err
}

func (s scan) each(yield func(string, record) error) error {
	seen := make(map[string]bool)
	return openText(s.path, func(f *os.File) error {
		return eachLine(f, "", func(name string, fields record) error {
			if seen[name] {
				return nil
			}
			seen[name] = true
			return yield(name, fields)
		})
	})
}

func (s scan) close() error { return nil }

// eachLine calls yield for every account in r, or for those named only if that is not empty, and ends with
// its first error.
func eachLine(r io.Reader, only string, yield func(name string, fields record) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 32<<10), maxLine)
	for lines.Scan() {
		raw := lines.Bytes()
		if only != "" &&
			(len(raw) <= len(only) || raw[len(only)] != '\t' && raw[len(only)] != ' ' ||
				string(raw[:len(only)]) != only) {
			continue
		}
		line := string(raw)
		name, fields, ok := splitLine(line)
		if !ok || only != "" && name != only {
			continue
		}
		if err := yield(name, fieldsOf(line, name, fields)); err != nil {
			return err
		}
	}
	return lines.Err()
}
