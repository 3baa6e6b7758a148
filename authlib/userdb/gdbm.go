package userdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// GNU dbm 1.x files, read only, as makeuserdb writes them: "FILE FORMAT" of GDBM's manual. Every number in
// the file is checked before it is used, so a damaged or hostile file gives an error and never more memory
// than these limits.
const (
	gdbmMagic32  = 0x13579acd
	gdbmMagicOld = 0x13579ace // 32-bit offsets, from before offsets had a size
	gdbmMagic64  = 0x13579acf
	gdbmNumsync3 = 0x13579ad0 // the same with a header extension
	gdbmNumsync6 = 0x13579ad1

	// keepInMemory is the largest file that a resident daemon reads as a whole.
	keepInMemory = 8 << 20

	maxBucket  = 1 << 20 // bytes
	maxItem    = 1 << 16 // bytes of key and data together
	maxDirBits = 26
)

// errDamaged says that a file is not the database that it should be.
var errDamaged = errors.New("damaged GDBM file")

// gdbm is an open database. Its methods may be called by many goroutines at once.
type gdbm struct {
	file io.ReaderAt
	// data is the whole file if it is kept in memory, else nil.
	data  []byte
	size  int64
	order binary.ByteOrder
	// wide: offsets have 64 bits.
	wide bool
	// dir is the directory's offset; it has 1<<bits entries.
	dir  int64
	bits uint
	// bucketSize in bytes, with elems elements.
	bucketSize, elems int
}

// openGDBM reads the header of a database of size bytes.
func openGDBM(file io.ReaderAt, size int64) (*gdbm, error) {
	var h [40]byte
	if n, err := file.ReadAt(h[:], 0); n < len(h) {
		if err == io.EOF {
			err = errDamaged
		}
		return nil, err
	}
	db := &gdbm{file: file, size: size, order: binary.LittleEndian}
	if h[0] == gdbmMagic64>>24 {
		db.order = binary.BigEndian
	}
	switch magic := db.order.Uint32(h[:]); magic {
	case gdbmMagic64, gdbmNumsync6:
		db.wide = true
	case gdbmMagic32, gdbmMagicOld, gdbmNumsync3:
	default:
		return nil, fmt.Errorf("%w: unknown magic number %#x", errDamaged, magic)
	}
	at, offset := 8, 4
	if db.wide {
		offset = 8
	}
	db.dir = db.offset(h[at:])
	at += offset
	dirSize := int64(int32(db.order.Uint32(h[at:])))
	bits := int32(db.order.Uint32(h[at+4:]))
	db.bucketSize = int(int32(db.order.Uint32(h[at+8:])))
	db.elems = int(int32(db.order.Uint32(h[at+12:])))
	if bits < 0 || bits > maxDirBits || dirSize != int64(offset)<<bits || !db.inside(db.dir, dirSize) {
		return nil, fmt.Errorf("%w: directory", errDamaged)
	}
	db.bits = uint(bits)
	if db.bucketSize > maxBucket || db.elems < 1 || db.elems > maxBucket ||
		db.bucketSize < db.elements()+db.elems*db.element() {
		return nil, fmt.Errorf("%w: bucket size", errDamaged)
	}
	return db, nil
}

// offset decodes an off_t.
func (db *gdbm) offset(b []byte) int64 {
	if db.wide {
		return int64(db.order.Uint64(b))
	}
	return int64(int32(db.order.Uint32(b)))
}

// elements is where a bucket's element table begins: after the list of available space, the bits and the
// count.
func (db *gdbm) elements() int {
	if db.wide {
		return 8 + 6*16 + 8
	}
	return 4 + 6*8 + 8
}

// element is the size of an element: hash, beginning of the key, data pointer, key size, data size.
func (db *gdbm) element() int {
	if db.wide {
		return 24
	}
	return 20
}

// inside tells whether n bytes at an offset are in the file.
func (db *gdbm) inside(at, n int64) bool { return at >= 0 && n >= 0 && at <= db.size-n }

// hash is GDBM's hash of a key, 31 bits.
func hash(key string) uint32 {
	h := uint32(0x238F13AF) * uint32(len(key))
	for n := range len(key) {
		// The C code's char is signed.
		h = (h + uint32(int32(int8(key[n])))<<(n*5%24)) & 0x7fffffff
	}
	return (1103515243*h + 12345) & 0x7fffffff
}

// load reads the whole file into memory if it is not too large for that.
func (db *gdbm) load() error {
	if db.size > keepInMemory {
		return nil
	}
	data, err := db.read(0, db.size)
	if err == nil {
		db.data = data
	}
	return err
}

// bucket returns the offset of the bucket in the directory's n-th entry, and the bucket, unless that is at
// the offset before.
func (db *gdbm) bucket(n int64, before int64) (int64, []byte, error) {
	width := int64(4)
	if db.wide {
		width = 8
	}
	entry, err := db.read(db.dir+n*width, width)
	if err != nil {
		return 0, nil, err
	}
	at := db.offset(entry)
	if at == before {
		return at, nil, nil
	}
	if !db.inside(at, int64(db.bucketSize)) || at == 0 {
		return 0, nil, fmt.Errorf("%w: bucket outside of the file", errDamaged)
	}
	bucket, err := db.read(at, int64(db.bucketSize))
	return at, bucket, err
}

// read returns n bytes of the file, which are inside of it and must not be changed.
func (db *gdbm) read(at, n int64) ([]byte, error) {
	if db.data != nil {
		return db.data[at : at+n], nil
	}
	buf := make([]byte, n)
	if got, err := db.file.ReadAt(buf, at); got < len(buf) {
		if err == io.EOF {
			err = fmt.Errorf("%w: cut short", errDamaged)
		}
		return nil, err
	}
	return buf, nil
}

// item reads key and data of a bucket's i-th element.
func (db *gdbm) item(bucket []byte, i int) (key, data string, err error) {
	e := bucket[db.elements()+i*db.element():]
	at := db.offset(e[8:])
	sizes := e[db.element()-8:]
	keySize, dataSize := int64(int32(db.order.Uint32(sizes))), int64(int32(db.order.Uint32(sizes[4:])))
	if keySize < 0 || dataSize < 0 || keySize+dataSize > maxItem || !db.inside(at, keySize+dataSize) {
		return "", "", fmt.Errorf("%w: element outside of the file", errDamaged)
	}
	both, err := db.read(at, keySize+dataSize)
	if err != nil {
		return "", "", err
	}
	return string(both[:keySize]), string(both[keySize:]), nil
}

// get returns the data stored under key.
func (db *gdbm) get(key string) (data string, ok bool, err error) {
	h := hash(key)
	_, bucket, err := db.bucket(int64(h>>(31-db.bits)), -1)
	if err != nil {
		return "", false, err
	}
	for i := range db.elems {
		n := (int(h) + i) % db.elems
		e := bucket[db.elements()+n*db.element():]
		switch db.order.Uint32(e) {
		case 0xffffffff:
			return "", false, nil
		case h:
			if int(db.order.Uint32(e[db.element()-8:])) != len(key) {
				continue
			}
			k, data, err := db.item(bucket, n)
			if err != nil {
				return "", false, err
			}
			if k == key {
				return data, true, nil
			}
		}
	}
	return "", false, nil
}

// each calls yield for every key with its data, in no particular order, and ends with its first error.
func (db *gdbm) each(yield func(key, data string) error) error {
	last, seen := int64(-1), int64(0)
	for n := range int64(1) << db.bits {
		at, bucket, err := db.bucket(n, last)
		if err != nil {
			return err
		}
		if at == last {
			// Neighbours in the directory share a bucket that has not been split yet.
			continue
		}
		last = at
		if seen += int64(db.bucketSize); seen > db.size {
			return fmt.Errorf("%w: more buckets than fit", errDamaged)
		}
		for i := range db.elems {
			if db.order.Uint32(bucket[db.elements()+i*db.element():]) == 0xffffffff {
				continue
			}
			key, data, err := db.item(bucket, i)
			if err != nil {
				return err
			}
			if err := yield(key, data); err != nil {
				return err
			}
		}
	}
	return nil
}
