package throttle

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// rules are how failures are counted, wherever the buckets are.
type rules struct {
	key     [keySize]byte
	buckets interface {
		// change lets do change the bucket that id belongs to, alone.
		change(in tableKind, id uint64, now time.Time, do func(b *bucket)) error
	}
}

// Failed counts one more failed login of addr and returns what Delay makes a delay of: how many there were
// within the window, this one included; or an eighth of those of its /48, where that is more.
func (r *rules) Failed(addr netip.Addr, now time.Time) (int, error) {
	who, n := r.whose(addr), uint32(0)
	err := r.buckets.change(tableFailures, who.network, now, func(b *bucket) {
		network := b.find(kindNetwork, who.network, 0)
		if who.shared {
			if network == nil {
				network = b.add(entry{kind: kindNetwork, network: who.network})
			}
			network.more(now)
			n = network.count / networkShare
		}
		own := b.find(kindAddress, who.network, who.address)
		if own == nil && (!who.shared || b.number(kindAddress, who.network, anyAddress) < networkAddresses) {
			own = b.add(entry{kind: kindAddress, network: who.network, address: who.address})
		}
		if own != nil {
			own.more(now)
			n = max(n, own.count)
		}
		n = max(n, 1)
	})
	return int(n), err
}

// FailedName counts one more failed login under an account name, from anywhere, and returns how many there
// were within the window. Spellings of a name are one name, see spelling.
func (r *rules) FailedName(name string, now time.Time) (int, error) {
	id, n := r.hash(domainName, []byte(spelling(name))), uint32(0)
	err := r.buckets.change(tableNames, id, now, func(b *bucket) {
		e := b.find(kindName, id, 0)
		if e == nil {
			e = b.add(entry{kind: kindName, network: id})
		}
		e.more(now)
		n = e.count
	})
	return int(n), err
}

// spelling is a name without what many databases do not look at when they compare: upper and lower case,
// blanks, accents, compatible forms of letters. Two accounts that are one here share a count, which only
// slows guessing.
func spelling(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Mn, unicode.Cf, unicode.White_Space) {
			return -1
		}
		return unicode.ToLower(unicode.ToUpper(r))
	}, norm.NFKD.String(name))
}

// owner is who an entry belongs to.
type owner struct {
	network, address uint64
	// shared says that the network has many addresses: IPv6.
	shared bool
}

// whose returns the owner of an address: IPv4 as it is, of IPv6 the first 48 and 64 bits.
func (r *rules) whose(addr netip.Addr) owner {
	addr = addr.Unmap()
	if addr.Is4() {
		bytes := addr.As4()
		id := r.hash(domainIPv4, bytes[:])
		return owner{network: id, address: id}
	}
	bytes := addr.As16()
	return owner{network: r.hash(domainNetwork, bytes[:6]), address: r.hash(domainIPv6, bytes[:8]), shared: true}
}

// hash is what an entry holds in place of an address or a name, and what chooses its bucket. It is never 0.
func (r *rules) hash(d domain, text []byte) uint64 {
	mac := hmac.New(sha256.New, r.key[:])
	mac.Write([]byte{byte(d)})
	mac.Write(text)
	return binary.LittleEndian.Uint64(mac.Sum(nil)) | 1
}

// domain keeps apart what is hashed.
type domain byte

const (
	domainIPv4 domain = 1 + iota
	domainIPv6
	domainNetwork
	domainName
)

// bucketNumber is the bucket that an id belongs to. The lowest bit says nothing, see hash.
func bucketNumber(id uint64) int { return int(id >> 1 % buckets) }

// tableKind is one of the tables, in the order of the file.
type tableKind int64

const (
	tableFailures tableKind = iota
	tableConnections
	tableNames
)
