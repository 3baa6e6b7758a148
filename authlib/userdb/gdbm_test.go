package userdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// testdata/userdb.dat and userdbshadow.dat were made from testdata/userdb by Debian's makeuserdb.

// readDat opens one of them.
func readDat(t testing.TB, name string) *gdbm {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	db, err := openGDBM(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestGDBM(t *testing.T) {
	main, shadow := readDat(t, "userdb.dat"), readDat(t, "userdbshadow.dat")
	text, err := os.ReadFile("testdata/userdb")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		name, fields, ok := splitLine(strings.TrimSuffix(line, "\n"))
		if !ok {
			continue
		}
		names[name] = true
		a, ok, err := main.get(name)
		if !ok || err != nil {
			t.Fatalf("%q: %v, %v", name, ok, err)
		}
		b, _, err := shadow.get(name)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		for field := range strings.SplitSeq(fields, "|") {
			key, _, _ := strings.Cut(field, "=")
			where := a
			if strings.HasSuffix(key, "pw") {
				where = b
			}
			if !strings.Contains("|"+where+"|", "|"+field+"|") {
				t.Errorf("%q: %q not found in %q", name, field, where)
			}
		}
	}
	if len(names) < 400 {
		t.Fatalf("only %d accounts in the test data", len(names))
	}
	seen := 0
	if err := main.each(func(key, _ string) error {
		seen++
		if !names[key] {
			t.Errorf("each found %q", key)
		}
		return nil
	}); err != nil || seen != len(names) {
		t.Errorf("each found %d accounts of %d: %v", seen, len(names), err)
	}
	for _, name := range []string{"", "nobody", "a@x.orG", "bulk401@example.org", strings.Repeat("x", 10000)} {
		if _, ok, err := main.get(name); ok || err != nil {
			t.Errorf("get(%.20q) = %v, %v", name, ok, err)
		}
	}
	stop := errors.New("stop")
	if err := main.each(func(string, string) error { return stop }); err != stop {
		t.Errorf("each went on: %v", err)
	}
}

// buildGDBM writes a database with one bucket as GDBM lays it out.
func buildGDBM(order binary.ByteOrder, magic uint32, wide bool, items map[string]string) []byte {
	const elems, bucketSize, bucketAt, dataAt = 20, 1024, 512, 2048
	out := make([]byte, dataAt)
	db := &gdbm{order: order, wide: wide}
	offset := func(b []byte, n uint64) int {
		if wide {
			order.PutUint64(b, n)
			return 8
		}
		order.PutUint32(b, uint32(n))
		return 4
	}
	order.PutUint32(out, magic)
	order.PutUint32(out[4:], 512)
	at := 8 + offset(out[8:], 256)
	width := at - 8
	for i, n := range []uint32{uint32(width) * 2, 1, bucketSize, elems} {
		order.PutUint32(out[at+4*i:], n)
	}
	offset(out[256:], bucketAt)
	offset(out[256+width:], bucketAt)
	bucket := out[bucketAt : bucketAt+bucketSize]
	for i := range elems {
		order.PutUint32(bucket[db.elements()+i*db.element():], 0xffffffff)
	}
	for key, data := range items {
		h := hash(key)
		i := int(h) % elems
		for order.Uint32(bucket[db.elements()+i*db.element():]) != 0xffffffff {
			i = (i + 1) % elems
		}
		e := bucket[db.elements()+i*db.element():]
		order.PutUint32(e, h)
		copy(e[4:8], key)
		n := 8 + offset(e[8:], uint64(len(out)))
		order.PutUint32(e[n:], uint32(len(key)))
		order.PutUint32(e[n+4:], uint32(len(data)))
		out = append(append(out, key...), data...)
		bucket = out[bucketAt : bucketAt+bucketSize]
	}
	return out
}

func TestGDBMVariants(t *testing.T) {
	items := map[string]string{"a": "1", "ünï": "2", "long key of many bytes": strings.Repeat("d", 300),
		"empty": ""}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for magic, wide := range map[uint32]bool{
			gdbmMagic32: false, gdbmMagicOld: false, gdbmNumsync3: false, gdbmMagic64: true, gdbmNumsync6: true,
		} {
			data := buildGDBM(order, magic, wide, items)
			db, err := openGDBM(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Errorf("%v %#x: %v", order, magic, err)
				continue
			}
			for key, want := range items {
				if got, ok, err := db.get(key); got != want || !ok || err != nil {
					t.Errorf("%v %#x: get(%q) = %q, %v, %v", order, magic, key, got, ok, err)
				}
			}
			n := 0
			if err := db.each(func(string, string) error { n++; return nil }); err != nil || n != len(items) {
				t.Errorf("%v %#x: each found %d, %v", order, magic, n, err)
			}
		}
	}
}

func TestGDBMDamaged(t *testing.T) {
	good := buildGDBM(binary.LittleEndian, gdbmMagic64, true, map[string]string{"key": "value"})
	element := 512 + 112 + 24*(int(hash("key"))%20)
	for name, damage := range map[string]func([]byte) []byte{
		"empty":               func(b []byte) []byte { return nil },
		"short header":        func(b []byte) []byte { return b[:39] },
		"magic":               func(b []byte) []byte { b[0]++; return b },
		"directory outside":   func(b []byte) []byte { b[13] = 1; return b },
		"directory negative":  func(b []byte) []byte { b[15] = 0xff; return b },
		"directory bits":      func(b []byte) []byte { b[20] = 31; return b },
		"negative bits":       func(b []byte) []byte { b[23] = 0xff; return b },
		"bucket size huge":    func(b []byte) []byte { b[27] = 0x7f; return b },
		"bucket size small":   func(b []byte) []byte { b[25] = 0; b[24] = 1; return b },
		"no elements":         func(b []byte) []byte { b[28] = 0; return b },
		"bucket outside":      func(b []byte) []byte { b[256+2], b[264+2] = 1, 1; return b },
		"bucket is the start": func(b []byte) []byte { clear(b[256:272]); return b },
		"data outside":        func(b []byte) []byte { b[element+8+3] = 1; return b },
		"data negative":       func(b []byte) []byte { b[element+8+7] = 0xff; return b },
		"data size huge":      func(b []byte) []byte { b[element+20+3] = 0x7f; return b },
		"data size negative":  func(b []byte) []byte { b[element+20+3] = 0xff; return b },
		"cut short":           func(b []byte) []byte { return b[:len(b)-1] },
	} {
		data := damage(bytes.Clone(good))
		db, err := openGDBM(bytes.NewReader(data), int64(len(data)))
		if err == nil {
			_, _, err = db.get("key")
			if each := db.each(func(string, string) error { return nil }); each == nil {
				t.Errorf("%s: each found nothing wrong", name)
			}
		}
		if !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A bucket without an empty element must not be searched for ever.
	full := bytes.Clone(good)
	for i := range 20 {
		binary.LittleEndian.PutUint32(full[512+112+24*i:], hash("key"))
	}
	db, err := openGDBM(bytes.NewReader(full), int64(len(full)))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := db.get("other"); ok || err != nil {
		t.Errorf("full bucket: %v, %v", ok, err)
	}
}

func FuzzGDBM(f *testing.F) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		f.Add(buildGDBM(order, gdbmMagic64, true, map[string]string{"key": "value", "k2": ""}), "key")
		f.Add(buildGDBM(order, gdbmMagic32, false, map[string]string{"key": "value"}), "nokey")
	}
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		db, err := openGDBM(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		value, ok, err := db.get(key)
		if ok && (err != nil || !bytes.Contains(data, []byte(key+value))) {
			t.Errorf("get made up %q: %v", value, err)
		}
		n := 0
		_ = db.each(func(key, value string) error {
			if !bytes.Contains(data, []byte(key+value)) {
				t.Errorf("each made up %q", value)
			}
			if n++; n > 1000 {
				return fmt.Errorf("enough")
			}
			return nil
		})
	})
}
