package tlsconf

import (
	"maps"
	"slices"
	"time"
)

// End is when a certificate ends.
type End struct {
	File     string
	Kind     string // of its key: "ECDSA P-256", "RSA-2048"
	NotAfter time.Time
}

// Ends returns the ends of the certificates that the Memory holds, at most most: those of TLS_CERTFILE once a
// client may have had one, and those of names and addresses that clients have asked for.
func (m *Memory) Ends(most int) (ends []End) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, suffix := range slices.Sorted(maps.Keys(m.sets)) {
		set := m.sets[suffix].value.Load()
		if set == nil {
			continue
		}
		for _, c := range set.value.found {
			if len(ends) == most {
				return ends
			}
			ends = append(ends, End{c.files.cert, keyKind(c.leaf), c.leaf.NotAfter})
		}
	}
	return ends
}
