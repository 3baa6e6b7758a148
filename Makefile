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
	@pages=$$(git ls-files 'man/*.[1-8]'); test -z "$$pages" || mandoc -T lint -W warning $$pages

# Results are not taken from go test's cache: the servers on the machine are part of what is tested.
test:
	tests/install.sh
	$(GO) vet ./...
	$(GO) test -race -count=1 -timeout=9m ./...

bench:
	tests/install.sh
	$(GO) test -count=1 -timeout=60m -run '^$$' -bench . -benchtime 1x ./tests/bench/...

# Two IMAP servers, an account database with two users, one proxy in front. DEMO_ONCE=1 ends afterwards.
demo: build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./tests/demo
	@bin/demo -bin bin

clean:
	rm -rf bin dist
