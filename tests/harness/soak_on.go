//go:build soak

package harness

// soak is whether "make soak" runs the tests, with all the data they are for.
const soak = true
