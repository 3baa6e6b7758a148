# build: static, stripped programs in bin/. test: installs what the tests need, then runs all of them.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X mailproxy/internal/version.Version=$(VERSION)
PROGRAMS := $(patsubst ./%,%,$(wildcard ./imapd-proxy ./pop3d-proxy ./authlib/authdaemond ./relay/relayd))

.PHONY: build test lint bench demo clean

build:
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./,$(PROGRAMS))

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change: $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

test:
	$(GO) test -race ./...

clean:
	rm -rf bin dist
