// Package filestamp tells whether a file has changed, without reading it.
package filestamp

import (
	"os"
	"syscall"
)

// Stamp is what changes when a file does, and when its name leads to another file. Compare it by ==. Times
// are in nanoseconds since 1970.
type Stamp struct {
	Device, Inode uint64
	Mode          uint32
	Size          int64
	// Modified is the time of the contents, which a copy may take over; Changed is that of the last change of
	// anything, and the kernel's alone to set.
	Modified, Changed int64
	// Err is the text of the error in place of a stamp: another one is a change, too.
	Err string
}

// Of returns the stamp of the file that path leads to, or else one with the error of os.Stat, and that.
func Of(path string) (Stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{Err: err.Error()}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return Stamp{
		Device: st.Dev, Inode: st.Ino, Mode: st.Mode, Size: st.Size,
		Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano(),
	}, nil
}

// IsDir tells whether it is a directory.
func (s Stamp) IsDir() bool { return s.Mode&syscall.S_IFMT == syscall.S_IFDIR }
