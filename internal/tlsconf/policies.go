package tlsconf

import (
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// policies is what Memory knows besides certificates: the configuration that connections get copies of, and
// which names have files.
type policies struct {
	files fileList
	err   error // of the settings of files
	// cfg is not to be changed: Clone. cfgErr says why there is none.
	cfg    *tls.Config
	cfgErr error
	// suffixes are those of the files beside TLS_CERTFILE; nil: the directory cannot be listed.
	suffixes map[string]bool
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
		p.cfg, p.cfgErr = quiet.serverConfig()
		if p.cfgErr == nil || before == nil || before.cfg == nil {
			return p
		}
		if m.shouldLog(o, "policy "+p.cfgErr.Error()) {
			o.err("%v; what was read before still counts", p.cfgErr)
		}
		p.cfg, p.cfgErr = before.cfg, nil
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

// config returns a configuration of a connection's own.
func (m *Memory) config(o *Options) (*tls.Config, error) {
	p := m.policies(o)
	if p.cfgErr != nil {
		return nil, m.failure(o, p.cfgErr, "")
	}
	cfg := p.cfg.Clone()
	cfg.MinVersion = o.minVersion()
	return cfg, nil
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
