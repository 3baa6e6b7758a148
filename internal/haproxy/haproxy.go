// Package haproxy reads and writes the PROXY protocol header, version 1 and 2, with which a load balancer
// tells the server behind it who the client is (the PROXY protocol specification of HAProxy, sections 2.1
// and 2.2).
//
// The header is taken off the connection byte for byte, so that what follows it is left for the dialogue.
// Datagram and unix addresses are not taken for a client.
package haproxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"github.com/pires/go-proxyproto"
)

// errNoHeader reports that the connection does not begin with a PROXY header.
var errNoHeader = errors.New("the connection does not begin with a PROXY protocol header")

// ErrNothing reports that the connection ended before its first byte: a look whether somebody listens, or a
// client behind a balancer that sends no header and that gave up waiting for the greeting.
var ErrNothing = errors.New("the connection ended before its first byte")

// maxHeader limits the body of a version 2 header: two unix addresses, and room for TLVs. HAProxy itself
// sends less than 1 KiB even with a client certificate's names.
const maxHeader = 4096

// maxV1 is the longest version 1 header, CRLF included (section 2.1).
const maxV1 = 107

// Header is what the load balancer said.
type Header struct {
	// Local is true when the balancer speaks for itself, as its health checks do. There is no client then.
	Local bool
	// Client and Server are the two ends of the client's own connection; both are invalid when Local.
	Client, Server netip.AddrPort
	// TLS says that the client's connection to the balancer was encrypted.
	TLS bool
	// TLSVersion is the balancer's name for it, such as "TLSv1.3"; empty when not told.
	TLSVersion string
	// CommonName is the CN of the client's certificate, only when the balancer has verified it.
	CommonName string
}

// reader is what Read needs of a connection: exact reads. A bufio.Reader would take more than the header.
type reader interface {
	ReadFull(p []byte) error
}

// Read takes a PROXY header off r. It returns errNoHeader when something else begins there, and ErrNothing
// when nothing does; the bytes looked at are then lost, so the connection has to be closed. The caller sets
// the deadline.
func Read(r reader) (*Header, error) {
	raw, err := readRaw(r)
	if err != nil {
		return nil, err
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, fmt.Errorf("read PROXY header: %w", err)
	}
	if h.Command.IsLocal() || h.TransportProtocol.IsUnspec() {
		return &Header{Local: true}, nil
	}
	source, dest, ok := h.TCPAddrs()
	if !ok {
		return nil, fmt.Errorf("read PROXY header: address family %#x is not TCP", byte(h.TransportProtocol))
	}
	out := &Header{Client: addrPort(source), Server: addrPort(dest)}
	tlvs, err := h.TLVs()
	if err != nil {
		return nil, fmt.Errorf("read PROXY header: %w", err)
	}
	for _, tlv := range tlvs {
		if tlv.Type == proxyproto.PP2_TYPE_SSL {
			if err := out.readTLS(tlv.Value); err != nil {
				return nil, fmt.Errorf("read PROXY header: %w", err)
			}
		}
	}
	return out, nil
}

// readRaw reads exactly the header's bytes.
func readRaw(r reader) ([]byte, error) {
	buf := make([]byte, 12, 256)
	if err := r.ReadFull(buf[:1]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return nil, ErrNothing
		}
		return nil, noHeader(err)
	}
	if buf[0] != proxyproto.SIGV1[0] && buf[0] != proxyproto.SIGV2[0] {
		return nil, errNoHeader
	}
	// The shortest version 1 header, "PROXY UNKNOWN" CRLF, is longer than the signature of version 2.
	if err := r.ReadFull(buf[1:]); err != nil {
		return nil, noHeader(err)
	}
	switch {
	case bytes.HasPrefix(buf, []byte("PROXY ")):
		for !bytes.HasSuffix(buf, []byte("\n")) {
			if len(buf) == maxV1 {
				return nil, fmt.Errorf("read PROXY header: no line end within %d bytes", maxV1)
			}
			buf = append(buf, 0)
			if err := r.ReadFull(buf[len(buf)-1:]); err != nil {
				return nil, noHeader(err)
			}
		}
		return buf, nil
	case bytes.Equal(buf, proxyproto.SIGV2):
		buf = append(buf, 0, 0, 0, 0)
		if err := r.ReadFull(buf[12:]); err != nil {
			return nil, noHeader(err)
		}
		n := int(binary.BigEndian.Uint16(buf[14:]))
		if n > maxHeader {
			return nil, fmt.Errorf("read PROXY header: %d bytes of addresses are more than %d", n, maxHeader)
		}
		buf = append(buf, make([]byte, n)...)
		if err := r.ReadFull(buf[16:]); err != nil {
			return nil, noHeader(err)
		}
		return buf, nil
	}
	return nil, errNoHeader
}

func noHeader(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNoHeader
	}
	return fmt.Errorf("read PROXY header: %w", err)
}

// readTLS reads the value of PP2_TYPE_SSL (section 2.2.6): a byte of flags, the verification result (0 =
// verified), and sub-TLVs.
func (h *Header) readTLS(v []byte) error {
	if len(v) < 5 {
		return errors.New("the TLS information is cut short")
	}
	flags, verify := v[0], binary.BigEndian.Uint32(v[1:])
	sub, err := proxyproto.SplitTLVs(v[5:])
	if err != nil {
		return err
	}
	const clientSSL, clientCertConn, clientCertSess = 1, 2, 4
	h.TLS = flags&clientSSL != 0
	for _, tlv := range sub {
		value := string(tlv.Value)
		switch tlv.Type {
		case proxyproto.PP2_SUBTYPE_SSL_VERSION:
			h.TLSVersion = value
		case proxyproto.PP2_SUBTYPE_SSL_CN:
			if verify == 0 && flags&(clientCertConn|clientCertSess) != 0 {
				h.CommonName = value
			}
		}
	}
	return nil
}

func addrPort(a *net.TCPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
