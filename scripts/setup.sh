#!/bin/sh
# Installs what the tests can use and this machine lacks, as root on Debian and
# Ubuntu. Elsewhere it prints the one command that would. It never uses sudo,
# and never fails because something is missing: the tests leave out what needs
# it, and say so.
#
#   scripts/setup.sh test   for `make test`:
#     redis-server      without it the tests run on embedded nodes only
#   scripts/setup.sh gate   for `make gate`, besides:
#     libfaketime       gives nodes clocks that jump, in some chaos scenarios
#     tmux, zsh, fish   for the tests of the command line in a terminal
#     postgresql and    for the tests of fencing tokens in databases; the
#     mariadb-server    tests start servers of their own
#     chromium          for those of the pages of package web
#     prometheus        for those of the alert rules and the dashboard; unpacked
#                       into bin (100 MB), because the package brings a service
#
# REDLOCK_TEST_SERVER, if it is set, is the server to use in place of
# redis-server.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

have() {
	command -v "$1" >/dev/null 2>&1
}

# libfaketime is a library that the tests preload; see chaos_test.
have_faketime() {
	for lib in /usr/lib/*/faketime/libfaketime.so.1 /usr/lib64/faketime/libfaketime.so.1 \
		/usr/lib/faketime/libfaketime.so.1 /usr/local/lib/faketime/libfaketime.so.1; do
		[ ! -e "$lib" ] || return 0
	done
	return 1
}

# Only Linux programs can be given another clock in this way.
faketime_is_missing() {
	[ "$(uname -s)" = Linux ] && ! have_faketime
}

# quietly runs a command and shows what it printed only if it fails.
quietly() {
	if output=$("$@" 2>&1 </dev/null); then
		return 0
	fi
	echo "failed: $*"
	printf '%s\n' "$output" | tail -n 20
	return 1
}

# forbid_service_starts keeps the package from starting a server of its own
# for as long as this script runs: the tests start their nodes themselves. A
# policy that is already there belongs to the machine and stays.
forbid_service_starts() {
	policy=/usr/sbin/policy-rc.d
	[ ! -e "$policy" ] || return 0
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

# retire_service stops a server if a policy of the machine let it start, and
# keeps it from starting at the next boot. The service is known to be new:
# this runs only where the server was missing.
retire_service() {
	if service "$1" status; then
		service "$1" stop
	fi
	update-rc.d "$1" disable
}

# install downloads under a time limit, so that a machine without a network
# loses little time, and unpacks without one: interrupting dpkg would leave a
# half-installed package.
install() {
	export DEBIAN_FRONTEND=noninteractive
	options='-y -qq --no-install-recommends -o DPkg::Lock::Timeout=60'

	forbid_service_starts
	quietly timeout 60 apt-get update -qq || echo "trying with the package lists that are there"
	# $options is several words.
	quietly timeout 120 apt-get install $options "$@" --download-only || return 1
	quietly apt-get install $options "$@"
}

# get installs packages if this script may, or prints the command that would.
get() {
	if have apt-get && [ "$(id -u)" = 0 ]; then
		echo "installing with apt-get: $*"
		(install "$@") && return 0
	fi
	echo "missing: $*. To get it: $(command_for "$@")"
	return 1
}

# command_for prints the command that installs packages here.
command_for() {
	if have apt-get; then
		echo "sudo apt-get install $*"
	elif have dnf; then
		echo "sudo dnf install $*"
	elif have apk; then
		echo "sudo apk add $*"
	elif have brew; then
		echo "brew install $*"
	else
		echo "install it with this system's package manager"
	fi
}

# missing_of prints those of the given programs that are missing.
missing_of() {
	for program in "$@"; do
		have "$program" || printf '%s ' "$program"
	done
}

# Debian keeps the programs of PostgreSQL out of the PATH.
have_postgres() {
	for program in /usr/lib/postgresql/*/bin/postgres; do
		[ ! -x "$program" ] || return 0
	done
	have postgres
}

have_mariadb() {
	have mariadbd && have mariadb-install-db
}

# get_database installs a package that brings a service of this name.
get_database() {
	if get "$1"; then
		retire_service "$2" >/dev/null 2>&1 || true
	fi
}

# unpack_prometheus takes the programs out of the package, which needs no root
# and installs nothing.
unpack_prometheus() (
	have apt-get && have dpkg-deb || return 1
	bin=$(cd "$(dirname "$0")/.." && pwd)/bin
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	trap 'exit 1' HUP INT TERM
	cd "$dir"
	echo "prometheus is missing, unpacking it into bin"
	[ "$(id -u)" != 0 ] || quietly timeout 60 apt-get update -qq || true
	quietly timeout 60 apt-get download -qq prometheus || return 1
	quietly dpkg-deb --extract prometheus_*.deb . || return 1
	mkdir -p "$bin"
	mv usr/bin/prometheus usr/bin/promtool "$bin"
)

for_test() {
	if [ -n "${REDLOCK_TEST_SERVER:-}" ]; then
		[ -x "$REDLOCK_TEST_SERVER" ] || {
			echo "REDLOCK_TEST_SERVER: $REDLOCK_TEST_SERVER is not a program that can be run; name a redis-server or valkey-server"
			exit 1
		}
		return 0
	fi
	have redis-server && return 0
	package=redis-server
	have apt-get || package=redis
	if ! get "$package"; then
		echo "Until then the tests run on embedded nodes only."
		return 0
	fi
	retire_service redis-server >/dev/null 2>&1 || true
}

for_gate() {
	if faketime_is_missing; then
		get libfaketime || true
	fi
	# Several words, or none.
	shells=$(missing_of tmux zsh fish)
	if [ -n "$shells" ]; then
		# shellcheck disable=SC2086
		get $shells || true
	fi
	# The tests that use them run on Linux only.
	if [ "$(uname -s)" = Linux ]; then
		postgres=postgresql
		mariadb=mariadb-server
		if ! have apt-get && have dnf; then
			postgres=postgresql-server
		elif ! have apt-get && have apk; then
			mariadb=mariadb
		fi
		have_postgres || get_database "$postgres" postgresql
		have_mariadb || get_database "$mariadb" mariadb
	fi
	if ! { have chromium || have chromium-browser || have google-chrome; }; then
		get chromium || true
	fi
	if ! { have prometheus && have promtool || [ -x "$(dirname "$0")/../bin/promtool" ]; }; then
		unpack_prometheus ||
			echo "prometheus is missing and could not be unpacked. To get it: $(command_for prometheus)"
	fi
}

case "${1:-}" in
test)
	for_test
	;;
gate)
	for_test
	for_gate
	;;
*)
	echo "usage: scripts/setup.sh test|gate" >&2
	exit 2
	;;
esac
