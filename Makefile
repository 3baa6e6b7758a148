# "make help" lists the targets: each has a line "## ..." above it.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X mailproxy/internal/version.Version=$(VERSION)
PROGRAMS := imapd-proxy pop3d-proxy authlib/authdaemond relay/relayd

.PHONY: help build lint test soak bench demo install deb clean

## help: list the targets
help:
	@sed -n 's/^## \([a-z]*\): /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

## build: static, stripped programs in bin/
build:
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./,$(PROGRAMS))

## lint: gofmt, vet, staticcheck, and mandoc for the manual pages
lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change: $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@command -v mandoc >/dev/null || tests/install.sh
	mandoc -T lint -W warning $$(git ls-files 'man/*.[1-8]')

# Results are not taken from go test's cache: the servers on the machine are part of what is tested. tests/ops installs the
# package, and has no network to build it.
#
## test: install what the tests need (as root), then run all of them with the race detector
test:
	tests/install.sh
	$(MAKE) deb
	$(GO) vet ./...
	$(GO) test -race -count=1 -timeout=9m ./...

# The tests named TestVolume, with gigabytes and thousands of sessions where "make test" has little data (the build tag soak).
#
## soak: run the tests of bulk data and of many sessions with all the data they are for, which takes long
soak:
	tests/install.sh
	$(GO) vet -tags soak ./tests/...
	$(GO) test -tags soak -count=1 -timeout=60m -p 1 -run '^TestVolume' ./tests/...

## bench: measure against Courier and other servers; docs/performance.md says what
bench:
	tests/install.sh
	$(GO) test -count=1 -timeout=60m -run '^$$' -bench . -benchtime 1x -p 1 ./tests/bench/...

# DEMO_ONCE=1 ends afterwards.
#
## demo: run two IMAP servers, an account database with two users, and one proxy in front
demo: build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./tests/demo
	@bin/demo -bin bin

# The programs lie together in $(LIBDIR), where the front ends look for authdaemond; Courier has programs named authdaemond
# and imapd of its own, so only names that are ours go into sbin. Configuration that is there already is kept.
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
LIBDIR      = $(PREFIX)/lib/mailproxy
UNITDIR     = $(PREFIX)/lib/systemd/system
CONFIGS     = imapd imapd-ssl pop3d pop3d-ssl relayd authdaemonrc authmysqlrc authpgsqlrc authldaprc userdb

## install: install programs, manuals, units and samples below DESTDIR and PREFIX
install: build
	install -d $(DESTDIR)$(LIBDIR) $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR)/mailproxy
	install -m 0755 $(addprefix bin/,$(notdir $(PROGRAMS))) $(DESTDIR)$(LIBDIR)
	ln -sf ../lib/mailproxy/imapd-proxy ../lib/mailproxy/pop3d-proxy $(DESTDIR)$(PREFIX)/sbin
	ln -sf ../lib/mailproxy/authdaemond $(DESTDIR)$(PREFIX)/sbin/mailproxy-authdaemond
	ln -sf ../lib/mailproxy/relayd $(DESTDIR)$(PREFIX)/sbin/mailproxy-relayd
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/man/,man5 man8)
	install -m 0644 man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 0644 man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	ln -sf authdaemond.8 $(DESTDIR)$(PREFIX)/share/man/man8/mailproxy-authdaemond.8
	ln -sf relayd.8 $(DESTDIR)$(PREFIX)/share/man/man8/mailproxy-relayd.8
	for unit in etc/systemd/*.socket etc/systemd/*.service; do \
		sed 's|/usr/sbin/|$(PREFIX)/sbin/|; s|/usr/lib/mailproxy/|$(LIBDIR)/|; s|/etc/mailproxy/|$(SYSCONFDIR)/mailproxy/|g' $$unit \
			> $(DESTDIR)$(UNITDIR)/$$(basename $$unit) && chmod 0644 $(DESTDIR)$(UNITDIR)/$$(basename $$unit) || exit 1; done
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/sysusers.d etc/sysusers.d/mailproxy.conf
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/tmpfiles.d etc/tmpfiles.d/mailproxy.conf
	install -d $(DESTDIR)$(PREFIX)/share/doc/mailproxy/examples
	cp -R etc/examples/. etc/xinetd.d etc/courier etc/haproxy etc/keepalived $(DESTDIR)$(PREFIX)/share/doc/mailproxy/examples/
	for file in $(CONFIGS); do target=$(DESTDIR)$(SYSCONFDIR)/mailproxy/$$file; \
		test -e $$target || install -m 0600 etc/$$file $$target || exit 1; done

DEB_VERSION    ?= $(shell v=$$(git describe --tags --match 'v[0-9]*' 2>/dev/null) && echo $${v\#v} || echo 0.0.0~$$(git rev-list --count HEAD 2>/dev/null || echo 0))
DEB_ARCH       ?= $(shell $(GO) env GOARCH)
DEB_MAINTAINER ?= mailproxy maintainers <mailproxy@example.org>

## deb: build the package dist/mailproxy_VERSION_ARCH.deb
deb:
	rm -rf dist && mkdir -p dist
	$(MAKE) install DESTDIR=dist/root PREFIX=/usr SYSCONFDIR=/etc
	mv dist/root/etc/mailproxy dist/conf && rmdir dist/root/etc
	GO='$(GO)' packaging/deb-docs dist/root '$(DEB_VERSION)' '$(DEB_MAINTAINER)'
	cd packaging && $(GO) build -o ../dist/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm
	DEB_VERSION='$(DEB_VERSION)' DEB_ARCH='$(DEB_ARCH)' DEB_MAINTAINER='$(DEB_MAINTAINER)' \
		dist/nfpm package -f packaging/nfpm.yaml -p deb -t dist/

## clean: remove bin and dist
clean:
	rm -rf bin dist
