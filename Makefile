# "make help" lists the targets: each has a line "## ..." above it.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X mailproxy/internal/version.Version=$(VERSION)
BIN      ?= bin
VET      := CGO_ENABLED=0 $(GO) vet -trimpath
PROGRAMS := imapd-proxy pop3d-proxy authlib/authdaemond relay/relayd relay/mailproxyctl

.PHONY: help build lint test soak bench pictures demo install packages deb release clean

## help: list the targets
help:
	@sed -n 's/^## \([a-z]*\): /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

# The version says of what source they are; what Go notes by itself would differ between a clone and an
# archive of it.
#
## build: static, stripped programs in bin/
build:
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN)/ \
		$(addprefix ./,$(PROGRAMS))

# Everything without the race detector is compiled as the programs are, so that each package is compiled once.
# staticcheck gets that by the environment.
#
## lint: gofmt, vet, staticcheck, and mandoc for the manual pages
lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change: $$out"; exit 1; }
	$(VET) ./...
	CGO_ENABLED=0 GOFLAGS="$$($(GO) env GOFLAGS) -trimpath" $(GO) tool staticcheck ./...
	@command -v mandoc >/dev/null || tests/install.sh
	mandoc -T lint -W warning $$(git ls-files 'man/*.[1-8]')

# "go test" begins with the packages that are named first: of these, which take longest, none is left to run
# alone at the end.
LONGEST := $(addprefix ./tests/,ops db tls parity session faults verify resident)
LONGEST_RACE := $(addprefix ./,relay/relayd relay/engine internal/resident)

# Results are not taken from go test's cache: the servers on the machine are part of what is tested. Tests
# wait more than they work, for time limits and for servers, so more of them run at a time than there are
# processors.
TEST := $(GO) test -trimpath -vet=off -count=1 -timeout=15m -p 4 -parallel 12

# Packages that the race detector has nothing to look for in, and that it makes ten times as slow: hashes,
# reading bytes one at a time, system calls. What calls them from many goroutines is tested with it.
SEQUENTIAL := authlib/password authlib/scram internal/line internal/local

# The unit tests have the race detector. The tests in tests/ have not, but the programs that they start and
# that serve many sessions have (MAILPROXY_TEST_RACE; tests/harness). tests/ops installs the packages, and
# compares them with a second build of its own. A program with the race detector waits a second at its end
# unless GORACE says otherwise.
#
## test: install what the tests need (as root), then run all, with the race detector where races can be
test: export GORACE := atexit_sleep_ms=20
test: export MAILPROXY_TEST_RACE := 1
test:
	tests/install.sh
	$(MAKE) packages ARCHITECTURES=$$($(GO) env GOARCH)
	$(VET) ./...
	CGO_ENABLED=1 $(TEST) -race $(LONGEST_RACE) \
		$$($(GO) list ./... | grep -v /tests/ | grep -vxF $(addprefix -e mailproxy/,$(SEQUENTIAL)))
	CGO_ENABLED=0 $(TEST) $(LONGEST) $(addprefix ./,$(SEQUENTIAL)) ./tests/...

# The tests named TestVolume, with gigabytes and thousands of sessions where "make test" has little data (the
# build tag soak).
#
## soak: run the tests of bulk data and of many sessions with all the data they are for, which takes long
soak:
	tests/install.sh
	$(VET) -tags soak ./tests/...
	$(GO) test -tags soak -count=1 -timeout=60m -p 1 -run '^TestVolume' ./tests/...

## bench: measure against Courier and other servers; docs/performance.md says what
bench:
	tests/install.sh
	$(GO) test -count=1 -timeout=60m -run '^$$' -bench . -benchtime 1x -p 1 ./tests/bench/...

## pictures: draw docs/operating-*.svg from a run of tests/monitoring
pictures:
	tests/install.sh
	$(GO) test -count=1 ./tests/monitoring -pictures

# DEMO_ONCE=1 ends afterwards.
#
## demo: run two IMAP servers, an account database with two users, and one proxy in front
demo: build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./tests/demo
	@bin/demo -bin bin

# The programs lie together in $(LIBDIR), where the front ends look for authdaemond; Courier has programs
# named authdaemond and imapd of its own, so only names that are ours go into sbin. Configuration that is
# there already is kept.
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
LIBDIR      = $(PREFIX)/lib/mailproxy
UNITDIR     = $(PREFIX)/lib/systemd/system
DOCDIR      = $(PREFIX)/share/doc/mailproxy
CONFIGS     = imapd imapd-ssl pop3d pop3d-ssl relayd authdaemonrc authmysqlrc authpgsqlrc authldaprc userdb

## install: install programs, manuals, documents, units and samples below DESTDIR and PREFIX
install: build
	install -d $(addprefix $(DESTDIR),$(LIBDIR) $(PREFIX)/sbin $(UNITDIR) $(SYSCONFDIR)/mailproxy)
	install -m 0755 $(addprefix $(BIN)/,$(notdir $(PROGRAMS))) $(DESTDIR)$(LIBDIR)
	ln -sf ../lib/mailproxy/imapd-proxy ../lib/mailproxy/pop3d-proxy $(DESTDIR)$(PREFIX)/sbin
	ln -sf ../lib/mailproxy/authdaemond $(DESTDIR)$(PREFIX)/sbin/mailproxy-authdaemond
	ln -sf ../lib/mailproxy/relayd $(DESTDIR)$(PREFIX)/sbin/mailproxy-relayd
	ln -sf ../lib/mailproxy/mailproxyctl $(DESTDIR)$(PREFIX)/sbin/mailproxyctl
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/man/,man5 man8)
	install -m 0644 man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 0644 man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	ln -sf authdaemond.8 $(DESTDIR)$(PREFIX)/share/man/man8/mailproxy-authdaemond.8
	ln -sf relayd.8 $(DESTDIR)$(PREFIX)/share/man/man8/mailproxy-relayd.8
	for unit in etc/systemd/*.socket etc/systemd/*.service; do \
		target=$(DESTDIR)$(UNITDIR)/$$(basename $$unit); \
		sed -e 's|/usr/sbin/|$(PREFIX)/sbin/|; s|/usr/lib/mailproxy/|$(LIBDIR)/|' \
			-e 's|/etc/mailproxy/|$(SYSCONFDIR)/mailproxy/|g' $$unit > $$target && \
			chmod 0644 $$target || exit 1; done
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/sysusers.d etc/sysusers.d/mailproxy.conf
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/tmpfiles.d etc/tmpfiles.d/mailproxy.conf
	install -d $(DESTDIR)$(DOCDIR)/examples
	cp -R README.md SECURITY.md docs $(DESTDIR)$(DOCDIR)/
	cp -R etc/examples/. etc/xinetd.d etc/courier etc/haproxy etc/keepalived etc/prometheus etc/grafana \
		$(DESTDIR)$(DOCDIR)/examples/
	chmod -R u=rwX,go=rX $(DESTDIR)$(DOCDIR)
	for file in $(CONFIGS); do target=$(DESTDIR)$(SYSCONFDIR)/mailproxy/$$file; \
		test -e $$target || install -m 0600 etc/$$file $$target || exit 1; done

# The version of the packages: v1.2.3 is 1.2.3, the fourth commit after it 1.2.3+4.gCOMMIT. The time in them
# is the last commit's.
PACKAGE_VERSION   ?= $(shell v=$$(git describe --tags --match 'v[0-9]*' 2>/dev/null | \
	sed 's/^v//; s/-\([0-9]*\)-g/+\1.g/') && \
	echo $${v:-0.0.0~$$(git rev-list --count HEAD 2>/dev/null || echo 0)})
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
MAINTAINER        ?= mailproxy maintainers <mailproxy@example.org>
FORMATS           ?= deb rpm
ARCHITECTURES     ?= amd64 arm64

## packages: build .deb and .rpm, each for amd64 and arm64, and SHA256SUMS in dist/
packages:
	GO='$(GO)' MAKE='$(MAKE)' VERSION='$(VERSION)' PACKAGE_VERSION='$(PACKAGE_VERSION)' \
		MAINTAINER='$(MAINTAINER)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' \
		packaging/build '$(FORMATS)' '$(ARCHITECTURES)'

## deb: build nothing but the .deb for this machine in dist/
deb:
	$(MAKE) packages FORMATS=deb ARCHITECTURES=$$($(GO) env GOARCH)

# The tag is made by hand, as a release is not to be built by mistake.
#
## release: check that this commit is VERSION=1.2.3, then build its packages and archives in dist/
release:
	packaging/release-check '$(if $(filter command line,$(origin VERSION)),$(VERSION))'
	$(MAKE) packages PACKAGE_VERSION='$(VERSION)' FORMATS='deb rpm archive' ARCHITECTURES='amd64 arm64'

## clean: remove bin and dist
clean:
	rm -rf bin dist
