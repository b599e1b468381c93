#!/bin/sh
# Makes available to the tests what they can use, where that is possible without
# asking anybody. It never fails, and says what is left out without it:
#
#   redis-server      without it the tests run on embedded nodes only
#   libfaketime       gives nodes clocks that jump, in some chaos scenarios
#   tmux, zsh, fish   for the tests of the command line in a terminal
#   prometheus        for those of the alert rules and the dashboard; unpacked into
#                     bin (100 MB), because the package would bring a service
#
#   scripts/setup.sh                     what `make setup` runs
#   scripts/setup.sh install PACKAGE…    the part that needs root; called by the above
set -eu

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

embedded_only() {
	echo "$1"
	echo "Until then tests run on embedded nodes only."
	exit 0
}

how_to_install() {
	cat <<'EOF'
redis-server is missing and could not be installed from here. To get it:
  Debian, Ubuntu   sudo apt-get install redis-server
  Fedora           sudo dnf install /usr/bin/redis-server
  Alpine           sudo apk add redis
  macOS            brew install redis
EOF
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

# retire_service stops the server if a policy of the machine let it start, and
# keeps it from starting at the next boot. The service is known to be new:
# this runs only where redis-server was missing.
retire_service() {
	if service redis-server status; then
		service redis-server stop
	fi
	update-rc.d redis-server disable
}

# install downloads under a time limit, so that a machine without a
# network loses little time, and unpacks without one: interrupting dpkg would
# leave a half-installed package.
install() {
	PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
	export DEBIAN_FRONTEND=noninteractive
	options='-y -qq --no-install-recommends -o DPkg::Lock::Timeout=60'

	forbid_service_starts
	quietly timeout 60 apt-get update -qq || echo "trying with the package lists that are there"
	# $options is several words.
	quietly timeout 120 apt-get install $options "$@" --download-only || return 1
	quietly apt-get install $options "$@"
}

if [ "${1:-}" = install ]; then
	shift
	install "$@" || exit 1
	[ "$1" != redis-server ] || retire_service >/dev/null 2>&1 || true
	exit 0
fi

# get installs packages if this script may. It fails if it may not, or can not.
get() {
	have apt-get || return 1
	if [ "$(id -u)" = 0 ]; then
		as_root=
	elif have sudo && sudo -n true 2>/dev/null; then
		as_root='sudo -n'
	else
		return 1
	fi
	echo "missing, installing with apt-get: $*"
	$as_root sh "$0" install "$@"
}

# missing_of prints those of the given programs that there are not.
missing_of() {
	for program in "$@"; do
		have "$program" || printf '%s ' "$program"
	done
}

# unpack_prometheus takes its programs out of the package, which needs no root and installs nothing.
unpack_prometheus() (
	have apt-get && have dpkg-deb || return 1
	bin=$(cd "$(dirname "$0")/.." && pwd)/bin
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	trap 'exit 1' HUP INT TERM
	cd "$dir"
	echo "prometheus is missing, unpacking it into bin"
	quietly timeout 30 apt-get download -qq prometheus || return 1
	quietly dpkg-deb --extract prometheus_*.deb . || return 1
	mkdir -p "$bin"
	mv usr/bin/prometheus usr/bin/promtool "$bin"
)

if ! have redis-server; then
	get redis-server && have redis-server || embedded_only "$(how_to_install)"
fi
redis-server --version
if faketime_is_missing; then
	get libfaketime && have_faketime ||
		echo "libfaketime is missing and could not be installed from here: no clocks of nodes that jump in the tests." \
			"To get it: sudo apt-get install libfaketime"
fi
# Several words, or none.
shells=$(missing_of tmux zsh fish)
if [ -n "$shells" ]; then
	get $shells || echo "could not be installed from here: $shells- tests of the command line that need them are left out"
fi
if ! { have prometheus && have promtool || [ -x "$(dirname "$0")/../bin/promtool" ]; }; then
	unpack_prometheus ||
		echo "prometheus is missing and could not be unpacked from here: the alert rules and the dashboard are not tried on one"
fi
