package mailhost

import (
	"net/netip"
	"strconv"
)

// Endpoint is one end of the client's connection as mailhosts are told of it: IPv4 as such, without the
// ::ffff: of launchers, and no zone. What is not known is "".
func Endpoint(ip, port string) (addr, number string) {
	if a, err := netip.ParseAddr(ip); err == nil {
		addr = a.Unmap().WithZone("").String()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		number = strconv.FormatUint(n, 10)
	}
	return addr, number
}
