#!/usr/bin/env bash
# Installs the Debian packages that the tests need: real servers, clients and launchers. Quick when all is
# there. Run as root. "tests/install.sh --list" prints the packages and installs nothing.
set -euo pipefail

packages=(
	# mailhosts, and the login programs that ours replace
	courier-imap courier-pop courier-base courier-authdaemon courier-authlib
	courier-authlib-userdb courier-authlib-mysql courier-authlib-postgresql courier-authlib-ldap
	dovecot-core
	# account databases
	postgresql mariadb-server slapd ldap-utils
	# launchers
	xinetd ucspi-tcp ipsvd systemd
	# clients
	curl fetchmail gsasl isync mpop s-nail mutt openssl python3
	# other proxies, for comparison and for what stands in front of ours
	haproxy keepalived nginx libnginx-mod-mail perdition
	# what reads our logs and manuals; tools of the tests themselves
	fail2ban lintian rpm mandoc prometheus iproute2 strace gcc libc6-dev socat
)
# Dovecot's servers conflict with Courier's as packages, not as files: these are unpacked beside them.
unpacked=(dovecot-imapd dovecot-pop3d)
unpacked_files=(/usr/lib/dovecot/imap /usr/lib/dovecot/pop3)

if [ "${1-}" = --list ]; then
	printf '%s\n' "${packages[@]}" "${unpacked[@]}"
	exit 0
fi

complete() {
	local file
	# dpkg-query says so when it does not know a package, and prints "un", "rc"... for one that is not installed.
	! { dpkg-query -W -f '${db:Status-Abbrev}\n' "${packages[@]}" 2>&1 || true; } | grep -qv '^ii' || return 1
	for file in "${unpacked_files[@]}"; do
		[ -x "$file" ] || return 1
	done
}

if complete; then
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "tests/install.sh: needs root to install packages" >&2
	exit 1
fi

# Several runs at a time wait for each other here, and then find everything installed.
exec 9>/run/lock/mailproxy-tests-install
flock 9
if complete; then
	exit 0
fi

work=$(mktemp -d)
ours=
cleanup() {
	rm -rf "$work"
	[ -z "$ours" ] || rm -f /usr/sbin/policy-rc.d
}
trap cleanup EXIT

# No installed service starts by itself: the tests start their own, on their own ports.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	ours=yes
fi

export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
# A repository that cannot be reached is no reason to stop as long as the packages are found.
"${apt[@]}" update || true
"${apt[@]}" install --no-install-recommends "${packages[@]}"
(
	cd "$work"
	chmod 755 . # apt-get download writes as user _apt
	"${apt[@]}" download "${unpacked[@]}"
	for file in *.deb; do
		# No --keep-old-files in dpkg-deb: what both have are documents only.
		dpkg-deb -x "$file" /
	done
)
complete || { echo "tests/install.sh: something is still missing" >&2; exit 1; }
