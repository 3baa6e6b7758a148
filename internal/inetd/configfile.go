package inetd

import (
	"os"
)

// readConfigs reads configuration files in order; environment is what $NAME means before a file's own settings.
func readConfigs(names []string, environment Settings) (Settings, error) {
	s := make(Settings)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := ParseConfig(name, string(text), environment, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// ParseConfig reads one configuration file into s.
func ParseConfig(name, text string, environment, s Settings) error {
	return nil
}
