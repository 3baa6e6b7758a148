module mailproxy

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/pires/go-proxyproto v0.15.0
	golang.org/x/sys v0.49.0
)

require github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6

require github.com/go-crypt/x v0.4.16
