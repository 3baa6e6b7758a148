package check

import (
	"slices"
	"strings"

	"mailproxy/authlib"
	"mailproxy/authlib/sasl"
	"mailproxy/authlib/scram"
	"mailproxy/internal/login"
)

// offered are the SCRAM mechanisms that the settings name, on whatever connection, without -PLUS: what an
// account needs is the same.
func (c *check) offered() []string {
	words := c.listed()
	var names []string
	for _, h := range []scram.Hash{scram.SHA256(), scram.SHA1()} {
		if slices.ContainsFunc(words, func(word string) bool {
			return strings.TrimSuffix(strings.TrimPrefix(word, "AUTH="), "-PLUS") == h.Name
		}) {
			names = append(names, h.Name)
		}
	}
	return names
}

// scram says whether the account can log in by the SCRAM mechanisms that clients are offered.
func (c *check) scram(account *authlib.Account) {
	r, config := c.report, c.server.Config
	for _, name := range c.offered() {
		keys, err := sasl.Keys(name, account)
		switch {
		case err != nil:
			r.warn("auth", "%s is offered, and clients that choose it are refused: %v", name, err)
		case keys != nil && keys.Iterations != config.SCRAMIterations:
			r.warn("auth", "the stored keys have %d iterations, names without keys are shown %d: "+
				"anybody who asks can tell which names there are (SCRAM_ITERATIONS)",
				keys.Iterations, config.SCRAMIterations)
		}
	}
}

// scramSecret says whether there is what the salts of names without keys are made with.
func (c *check) scramSecret() {
	if len(c.offered()) == 0 {
		return
	}
	if _, err := login.SCRAMSecret(c.server.Config); err != nil {
		c.report.fail("settings", "%v: %s fails for everybody", err, strings.Join(c.offered(), " and "))
	}
}
