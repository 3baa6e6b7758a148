// Package version holds the one string that every program prints for --version.
package version

// Version is set by the Makefile through the linker; a plain `go build` says "dev".
var Version = "dev"
