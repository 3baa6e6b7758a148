package password

import "strings"

// Traditional crypt(3): DES with twelve bits of salt, see crypt(5). Only the first eight characters of a
// password count. It is here because Courier's plain userdbpw still prints it.

// isDES tells whether s looks like a traditional hash: two characters of salt, eleven of hash.
func isDES(s string) bool { return len(s) == 13 && strings.Trim(s, cryptAlphabet) == "" }

func verifyDES(hash, clear string) (bool, bool) { return same(hash, desCrypt(clear, hash[:2])), true }

func hashDES(_, clear string) (string, error) {
	return desCrypt(clear, salt(2)), nil
}

// The permutations of FIPS 46-3: each entry names, counted from 1 and from the left, the input bit that
// becomes this output bit.
var (
	desE = [...]uint{
		32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11,
		12, 13, 12, 13, 14, 15, 16, 17, 16, 17, 18, 19, 20, 21, 20, 21,
		22, 23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1,
	}
	desP = [...]uint{
		16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
		2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
	}
	desPC1 = [...]uint{
		57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2,
		59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36, 63, 55, 47, 39,
		31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37,
		29, 21, 13, 5, 28, 20, 12, 4,
	}
	desPC2 = [...]uint{
		14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4,
		26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55, 30, 40,
		51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
	}
	desFP = [...]uint{
		40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31,
		38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53, 21, 61, 29,
		36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27,
		34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9, 49, 17, 57, 25,
	}
)

// desS holds the substitution boxes S1 to S8: 64 hexadecimal digits each, row by row.
var desS = [8]string{
	"e4d12fb83a6c59070f74e2d1a6cb953841e8d62bfc973a50fc8249175b3ea06d",
	"f18e6b34972dc05a3d47f28ec01a69b50e7ba4d158c6932fd8a13f42b67c05e9",
	"a09e63f51dc7b428d709346a285ecbf1d6498f30b12c5ae71ad069874fe3b52c",
	"7de3069a1285bc4fd8b56f03472c1ae9a690cb7df13e52843f06a1d8945bc72e",
	"2c417ab6853fd0e9eb2c47d150fa3986421bad78f9c5630eb8c71e2d6f09a453",
	"c1af92680d34e75baf427c9561de0b389ef528c3704a1db6432c95fabe17608d",
	"4b2ef08d3c975a61d0b7491ae35c2f8614bdc37eaf6805926bd814a7950fe23c",
	"d2846fb1a93e50c71fd8a374c56b0e927b419ce206adf35821e74a8dfc90356b",
}

// permute picks bits of in, which has width bits, in the order of table.
func permute(in uint64, width uint, table []uint) uint64 {
	var out uint64
	for _, bit := range table {
		out = out<<1 | in>>(width-bit)&1
	}
	return out
}

// desKeys returns the sixteen round keys of 48 bits.
func desKeys(key uint64) (keys [16]uint64) {
	k := permute(key, 64, desPC1[:])
	c, d := k>>28, k&(1<<28-1)
	for round := range keys {
		shift := 2
		if round == 0 || round == 1 || round == 8 || round == 15 {
			shift = 1
		}
		c = (c<<shift | c>>(28-shift)) & (1<<28 - 1)
		d = (d<<shift | d>>(28-shift)) & (1<<28 - 1)
		keys[round] = permute(c<<28|d, 56, desPC2[:])
	}
	return keys
}

// desCrypt returns the traditional hash of clear: zeros encrypted 25 times, with the salt exchanging bits of
// the expansion's halves. salt is two characters of cryptAlphabet.
func desCrypt(clear, salt string) string {
	var key uint64
	for i := range 8 {
		key <<= 8
		if i < len(clear) {
			key |= uint64(clear[i]<<1) & 0xff
		}
	}
	keys := desKeys(key)
	bits := strings.IndexByte(cryptAlphabet, salt[0]) | strings.IndexByte(cryptAlphabet, salt[1])<<6
	// Bit i of the salt exchanges the i-th bits from the left of the two halves.
	var swap uint64
	for i := range 12 {
		swap |= uint64(bits>>i&1) << (23 - i)
	}
	var l, r uint64
	for range 25 {
		for _, k := range keys {
			l, r = r, l^desRound(r, k, swap)
		}
		l, r = r, l
	}
	block := permute(l<<32|r, 64, desFP[:])
	out := []byte(salt)
	for shift := 58; shift >= -2; shift -= 6 {
		if shift >= 0 {
			out = append(out, cryptAlphabet[block>>shift&63])
		} else {
			out = append(out, cryptAlphabet[block<<-shift&63])
		}
	}
	return string(out)
}

// desRound is DES's function f with a salted expansion.
func desRound(r, key, swap uint64) uint64 {
	e := permute(r, 32, desE[:])
	differ := (e>>24 ^ e) & swap
	e ^= differ<<24 | differ
	e ^= key
	var out uint64
	for box := range 8 {
		six := e >> (42 - 6*box) & 63
		// The outer bits choose the row, the inner four the column.
		at := (six>>4&2|six&1)<<4 | six>>1&15
		out = out<<4 | uint64(strings.IndexByte("0123456789abcdef", desS[box][at]))
	}
	return permute(out, 32, desP[:])
}
