package resident

import (
	"crypto/tls"
	"errors"
	"strings"

	"mailproxy/relay"
)

func handOverResult(err error) string {
	switch {
	case err == nil:
		return "taken"
	case errors.Is(err, relay.ErrLimit):
		return "limit"
	}
	return "failed"
}

// tlsVersion is a version as people say it: "1.3".
func tlsVersion(v uint16) string { return strings.TrimPrefix(tls.VersionName(v), "TLS ") }
