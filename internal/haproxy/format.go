package haproxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// Format returns the header of the given version (1 or 2) that tells a mailhost who the client is.
// Addresses of different families are written as IPv6.
func Format(version int, client, server netip.AddrPort) ([]byte, error) {
	return format(version, client, server, nil)
}

// FormatTLS is a header of version 2 that also says that the client's connection is encrypted, and by which
// version of TLS (section 2.2.6). Of a client's certificate it says nothing.
func FormatTLS(client, server netip.AddrPort, version string) ([]byte, error) {
	const clientSSL, notVerified = 1, 1
	value := binary.BigEndian.AppendUint32([]byte{clientSSL}, notVerified)
	sub, err := proxyproto.JoinTLVs([]proxyproto.TLV{
		{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(version)},
	})
	if err != nil {
		return nil, fmt.Errorf("write PROXY header: %w", err)
	}
	tls := proxyproto.TLV{Type: proxyproto.PP2_TYPE_SSL, Value: append(value, sub...)}
	return format(2, client, server, []proxyproto.TLV{tls})
}

func format(version int, client, server netip.AddrPort, tlvs []proxyproto.TLV) ([]byte, error) {
	if !client.IsValid() || !server.IsValid() {
		return nil, fmt.Errorf("write PROXY header: the client's address %v or the server's %v is not known",
			client, server)
	}
	h := proxyproto.HeaderProxyFromAddrs(byte(version), net.TCPAddrFromAddrPort(client),
		net.TCPAddrFromAddrPort(server))
	if err := h.SetTLVs(tlvs); err != nil {
		return nil, fmt.Errorf("write PROXY header: %w", err)
	}
	b, err := h.Format()
	if err != nil {
		return nil, fmt.Errorf("write PROXY header: %w", err)
	}
	return b, nil
}
