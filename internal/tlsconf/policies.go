package tlsconf

import (
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// policies is what Memory knows besides certificates: the configurations that connections get copies of, and
// which names have files.
type policies struct {
	files fileList
	err   error // of the settings of files
	// direct and startTLS are for ports 993 and 995, and for STARTTLS.
	direct, startTLS policy
	// suffixes are those of the files beside TLS_CERTFILE; nil: the directory cannot be listed.
	suffixes map[string]bool
}

type policy struct {
	cfg *tls.Config // not to be changed: Clone
	err error
}

// policies looks once a minute.
func (m *Memory) policies(o *Options) *policies {
	return m.base.get(o.now(), func(before *policies) *policies {
		quiet := *o
		quiet.Warn = func(format string, a ...any) {
			if m.shouldLog(o, "policy "+fmt.Sprintf(format, a...)) {
				o.warn(format, a...)
			}
		}
		p := &policies{}
		if p.files, p.err = o.baseFiles(); p.err == nil {
			p.suffixes, _ = p.files.suffixes()
			m.forget(p.suffixes)
		}
		var old policies
		if before != nil {
			old = *before
		}
		quiet.StartTLS = false
		p.direct = m.policy(&quiet, o, old.direct)
		quiet.StartTLS = true
		p.startTLS = m.policy(&quiet, o, old.startTLS)
		return p
	})
}

// forget drops the certificates of files that are there no more.
func (m *Memory) forget(suffixes map[string]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.sets, func(suffix string, _ *cached[*certSet]) bool {
		return suffixes != nil && suffix != "" && !suffixes[suffix]
	})
}

// policy makes a configuration, or keeps the last good one.
func (m *Memory) policy(quiet, o *Options, old policy) policy {
	cfg, err := quiet.serverConfig()
	if err == nil || old.cfg == nil {
		return policy{cfg, err}
	}
	if m.shouldLog(o, "policy "+err.Error()) {
		o.err("%v; what was read before still counts", err)
	}
	return old
}

// config returns a configuration of a connection's own.
func (m *Memory) config(o *Options) (*tls.Config, error) {
	p := m.policies(o)
	chosen := p.direct
	if o.StartTLS {
		chosen = p.startTLS
	}
	if chosen.err != nil {
		return nil, m.failure(o, chosen.err, "")
	}
	return chosen.cfg.Clone(), nil
}

// suffixes lists what follows the names of the certificates' files, and the dot, in their directories.
func (l fileList) suffixes() (map[string]bool, error) {
	found := map[string]bool{}
	for _, f := range l {
		entries, err := os.ReadDir(filepath.Dir(f.cert))
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if suffix, ok := strings.CutPrefix(entry.Name(), filepath.Base(f.cert)+"."); ok {
				found[suffix] = true
			}
		}
	}
	return found, nil
}
