package userdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mailproxy/internal/filestamp"
)

// dat is the pair of databases that makeuserdb writes: one with what everybody may know, one with the
// passwords.
type dat struct {
	files        [2]*os.File
	main, shadow *gdbm
}

// openDat opens path.dat and pathshadow.dat, and reads them into memory if asked to and they are small. The
// files stay open: makeuserdb replaces them by new ones.
func openDat(path string, load bool) (*dat, error) {
	d := new(dat)
	for i, name := range [2]string{path + ".dat", path + "shadow.dat"} {
		f, err := openPrivate(name, i == 1)
		if err != nil {
			d.close()
			return nil, err
		}
		d.files[i] = f
		info, err := f.Stat()
		if err == nil {
			var db *gdbm
			if db, err = openGDBM(f, info.Size()); err == nil && load {
				err = db.load()
			}
			if err == nil {
				if i == 0 {
					d.main = db
				} else {
					d.shadow = db
				}
				continue
			}
		}
		d.close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

func (d *dat) find(name string) (record, bool, error) {
	fields, ok, err := d.main.get(name)
	if !ok || err != nil {
		return "", false, err
	}
	r, err := d.join(name, fields)
	return r, err == nil, err
}

// join adds an account's secrets to its other fields. The first field of a name counts, so a secret can hide
// no other field, and the public file cannot hide a secret: fields that end in "pw" are not in it.
func (d *dat) join(name, fields string) (record, error) {
	secrets, _, err := d.shadow.get(name)
	if err != nil || secrets == "" {
		return record(fields), err
	}
	return record(secrets + "|" + fields), nil
}

func (d *dat) each(yield func(string, record) error) error {
	return d.main.each(func(name, fields string) error { return yield(name, record(fields)) })
}

func (d *dat) close() error {
	var errs []error
	for _, f := range d.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// stamp is that of a file that need not exist.
type stamp struct {
	exists bool
	filestamp.Stamp
}

// newer tells whether s is younger than o. What does not exist is older than everything else.
func (s stamp) newer(o stamp) bool { return s.exists && (!o.exists || s.Modified > o.Modified) }

// stampOf returns the stamp of a file; a missing one is no error.
func stampOf(path string) (stamp, error) {
	s, err := filestamp.Of(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stamp{}, nil
	case err != nil:
		return stamp{}, err
	}
	return stamp{true, s}, nil
}

// state is the stamps of all files of a database.
type state struct{ text, main, shadow stamp }

// stateOf looks at the files. The stamp of a directory is that of its youngest file, with the sum of the
// sizes and inodes.
func stateOf(path string) (s state, directory bool, err error) {
	var errs [3]error
	s.text, errs[0] = stampOf(path)
	s.main, errs[1] = stampOf(path + ".dat")
	s.shadow, errs[2] = stampOf(path + "shadow.dat")
	if !s.text.IsDir() {
		return s, false, errors.Join(errs[:]...)
	}
	files, err := textFiles(path)
	if err != nil {
		return s, true, err
	}
	for _, name := range files {
		f, err := stampOf(name)
		if err != nil {
			return s, true, err
		}
		s.text.Modified = max(s.text.Modified, f.Modified)
		s.text.Changed = max(s.text.Changed, f.Changed)
		s.text.Size += f.Size
		s.text.Inode += f.Inode
	}
	return s, true, errors.Join(errs[:]...)
}

// useDat tells whether the .dat files are complete and no older than the text.
func (s state) useDat() bool {
	return s.main.exists && s.shadow.exists && !s.text.newer(s.main) && !s.text.newer(s.shadow)
}
