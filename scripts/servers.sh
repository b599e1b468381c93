#!/bin/sh
# Fetches Redis-compatible servers that Debian has beside this machine's own,
# for `make servers`: each into bin/servers/PROGRAM-VERSION, with its own
# libraries, so nothing of the system changes and no root is needed. A server
# that is there stays; one that cannot be fetched is named, and the others are
# fetched all the same.
#
#   scripts/servers.sh           fetch what is missing
#   scripts/servers.sh list      print the servers that are there: program, version and
#                                path, newest Valkey first
#
#   make test SERVER=bin/servers/valkey-9.1/redis-server     runs the tests on one
#
# It needs a Debian whose apt knows a mirror. REDLOCK_DEBIAN_MIRROR names
# another mirror, such as one near by.
set -eu

# The servers, one a line: program, suite. Sid moves, so a folder is named
# after the version that the server itself reports.
servers='valkey sid
valkey trixie
redis trixie
valkey bookworm-backports
redict sid'

# What these servers are linked against, in the names of each suite. A name
# that a suite lacks is left out.
libraries='libc6 liblzf1 libjemalloc2 libsystemd0 libatomic1 libstdc++6 libgcc-s1 libcap2 libzstd1 zlib1g
liblzma5 liblz4-1 liblua5.1-0 lua-bitop lua-cjson libgcrypt20 libgpg-error0 libssl3 libssl3t64
libhiredis1.1.0 libhiredis0.14 libhiredict1.3.1 libfmt9 libfmt10'

cd "$(dirname "$0")/.."
all=$(pwd)/bin/servers

# folder_of prints the folder of a server that was fetched.
folder_of() {
	for from in "$all"/*/from; do
		[ -e "$from" ] && [ "$(cat "$from")" = "$1 $2" ] || continue
		dirname "$from"
		return 0
	done
	return 1
}

# version_of prints the version of a server, such as 9.1.2.
version_of() {
	"$1" --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p'
}

list() {
	for from in "$all"/*/from; do
		[ -e "$from" ] || continue
		dir=$(dirname "$from")
		echo "$(cut -d' ' -f1 "$from") $(cat "$dir/version") $dir/redis-server"
	done | sort -k1,1r -k2,2Vr
}

if [ "${1:-}" = list ]; then
	found=$(list)
	[ -n "$found" ] || {
		echo "there are no servers in bin/servers: make servers fetches them" >&2
		exit 1
	}
	echo "$found"
	exit 0
elif [ $# -gt 0 ]; then
	echo "usage: scripts/servers.sh [list]" >&2
	exit 2
fi

missing=
while read -r program suite; do
	if dir=$(folder_of "$program" "$suite"); then
		echo "$program of $suite: $(basename "$dir"), $(cat "$dir/version"), is there"
	else
		missing="$missing$program $suite
"
	fi
done <<END
$servers
END
[ -n "$missing" ] || exit 0

# give_up says what is missing, and how to test on it all the same.
give_up() {
	echo "$1. Not fetched:"
	printf '%s' "$missing" | sed 's/\(.*\) \(.*\)/  \1 of Debian \2/'
	echo "Install one in another way, and name it: make test SERVER=/path/to/its/server"
	exit 0
}

for program in apt-get dpkg dpkg-deb; do
	command -v "$program" >/dev/null 2>&1 || give_up "This machine has no $program"
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || give_up "This machine lacks Debian's keys ($keyring, of the package debian-archive-keyring)"
mirror=${REDLOCK_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
	sed -n 's/^Debian|Debian|//p' | head -n 1)}
[ -n "$mirror" ] || give_up "apt knows no mirror of Debian (run apt-get update, or name one in REDLOCK_DEBIAN_MIRROR)"

mkdir -p "$all"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# A private apt: lists, cache and state of its own.
mkdir -p "$tmp/parts" "$tmp/lists/partial" "$tmp/cache/archives/partial"
for suite in bookworm bookworm-backports trixie sid; do
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
		"$mirror" "$suite" "$keyring" >"$tmp/parts/$suite.sources"
done
private() {
	apt=$1
	shift
	"$apt" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$tmp/parts" \
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
		-o Dir::State::Lists="$tmp/lists" -o Dir::Cache="$tmp/cache" -o Dir::State::status=/dev/null \
		-o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=2 "$@"
}

echo "reading the package lists of bookworm, bookworm-backports, trixie and sid"
private apt-get update -qq >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	give_up "The package lists could not be read"
}

# available prints those of the packages that a suite has.
available() {
	suite=$1
	shift
	# shellcheck disable=SC2068
	private apt-cache madison $@ 2>/dev/null | awk -F '|' -v suite="$suite/" '
		{ gsub(/ /, "", $1); sub(/^ */, "", $3) }
		index($3, " " suite) && !seen[$1]++ { print $1 "/" substr(suite, 1, length(suite)-1) }'
}

# fetch unpacks packages of one suite into a folder. One call of apt for all of
# them: each call reads all lists.
fetch() (
	into=$1
	shift
	mkdir -p "$into" "$tmp/debs"
	cd "$tmp/debs"
	rm -f ./*.deb
	private apt-get download -qq "$@" >"$tmp/log" 2>&1 || {
		tail -n 5 "$tmp/log"
		return 1
	}
	for deb in ./*.deb; do
		dpkg-deb --extract "$deb" "$into" || return 1
	done
)

patchelf=$(command -v patchelf || true)
if [ -z "$patchelf" ]; then
	# shellcheck disable=SC2046
	fetch "$tmp/patchelf" $(available bookworm patchelf) || give_up "patchelf could not be fetched"
	patchelf=$tmp/patchelf/usr/bin/patchelf
fi

# build makes a folder with the programs of one server, which run by
# themselves: their loader and libraries are those of their own suite.
build() {
	program=$1 suite=$2
	libs=$suite
	[ "$suite" != bookworm-backports ] || libs=bookworm
	new=$all/.new
	rm -rf "$new"
	mkdir -p "$new"
	# shellcheck disable=SC2046,SC2086
	set -- $(available "$suite" $program-server $program-tools) $(available "$libs" $libraries)
	fetch "$new/root" "$@" || return 1
	loader=$(find "$new/root/" -name 'ld-linux-*.so.[0-9]' | head -n 1)
	[ -n "$loader" ] || {
		echo "its libc6 has no loader"
		return 1
	}
	dir=$(find "$new/root/" -name libc.so.6 -exec dirname {} \; | head -n 1)
	server=$new/root/usr/bin/$program-server
	[ -e "$server" ] || server=$new/root/usr/bin/$program-check-rdb # the same program, which looks at its name
	version=$("$loader" --library-path "$dir:$new/root/usr/lib/$(basename "$dir")" "$server" --version |
		sed -n 's/.* v=\([0-9.]*\).*/\1/p')
	[ -n "$version" ] || {
		echo "it does not say its version"
		return 1
	}
	name=$program-$(echo "$version" | cut -d. -f1,2)
	final=$all/$name
	for tool in server cli; do
		cp -L "$new/root/usr/bin/$program-$tool" "$new/redis-$tool"
		# --force-rpath: a RUNPATH does not count for libraries of libraries.
		"$patchelf" --set-interpreter "$final${loader#"$new"}" --force-rpath \
			--set-rpath "$final${dir#"$new"}:$final/root/usr/lib/$(basename "$dir")" "$new/redis-$tool" || return 1
	done
	ln -s redis-server "$new/redis-sentinel"
	echo "$version" >"$new/version"
	echo "$program $suite" >"$new/from"
	rm -rf "$final"
	mv "$new" "$final"
	[ "$(version_of "$final/redis-server")" = "$version" ] || {
		rm -rf "$final"
		echo "it does not start from $final"
		return 1
	}
	echo "$program of $suite: $name, $version"
}

printf '%s' "$missing" | while read -r program suite; do
	# A subshell with set -e would be ignored in a condition, so build checks by itself.
	build "$program" "$suite" </dev/null || {
		rm -rf "$all/.new"
		echo "$program of $suite: could not be fetched. Test on one that you install: make test SERVER=/path/to/its/server"
	}
done
