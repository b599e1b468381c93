#!/bin/sh
# Makes the passwords of the nodes, and changes them while locks are held.
#
#   sh deploy/secrets.sh new      make passwords; fails if there are some
#   sh deploy/secrets.sh rotate   make new passwords beside those in use
#   sh deploy/secrets.sh retire   drop the passwords from before rotate
#   sh deploy/secrets.sh list     print the files, and how many passwords each user has
#
# It writes two files that only you can read, and one of hashes:
#
#   deploy/.env                passwords of programs and people, which Docker Compose reads
#   deploy/secrets/nodes       URLs for redlock doctor in Kubernetes, with the operator's password
#   deploy/secrets/users.acl   the nodes' users, each password as a SHA-256 hash
#
# After each change restart the nodes one by one, as docs/oncall.md says under
# "Password rotation".
set -eu

cd "$(dirname "$0")"

# What cluster.Rights and cluster.OperatorRights list; deploy/tests compares
# them.
locks='~lock:* ~{lock:* ~redlock:mark &redlock:wake:* &redlock:election:lock:* +ping +evalsha +eval +subscribe +publish +time +get +set +del +exists +pexpire +pttl +zadd +zcard +zrange +zrem +hset +hmget +hdel +cluster|slots +multi +exec +msetnx +incrby +info +config|get +acl|dryrun +script|exists +script|load'
looking='+scan +client|list +client|pause'

usage() {
	echo "usage: sh deploy/secrets.sh new|rotate|retire|list" >&2
	exit 2
}

# random prints 64 hexadecimal digits.
random() {
	od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# rule prints a password as a rule of a user: the hash of it.
rule() {
	[ -n "$1" ] || return 0
	if command -v sha256sum >/dev/null 2>&1; then
		sum=$(printf %s "$1" | sha256sum)
	else
		sum=$(printf %s "$1" | shasum -a 256)
	fi
	printf ' #%s' "${sum%% *}"
}

# replace writes standard input to a file in one step, so that no reader finds
# half of it.
replace() {
	rm -f "$1.new"
	(umask "$2" && cat >"$1.new")
	mv "$1.new" "$1"
}

write() {
	replace .env 077 <<END
# Made by deploy/secrets.sh. Programs use the user redlock, people operator; admin
# may do everything.
REDLOCK_PASSWORD=$redlock
REDLOCK_OLD_PASSWORD=$redlock_old
OPERATOR_PASSWORD=$operator
OPERATOR_OLD_PASSWORD=$operator_old
ADMIN_PASSWORD=$admin
ADMIN_OLD_PASSWORD=$admin_old
GRAFANA_PASSWORD=$grafana
END
	for i in 0 1 2 3 4; do
		echo "redis://operator:$operator@redlock-node-$i.redlock-nodes.redlock.svc:6379"
	done | replace secrets/nodes 077
	# Servers in containers read it as users of their own. Nobody can be the
	# default user, which is off, but it has all rights: as this user a server
	# reads its append-only file, and many (Redis 7.0 and 8.0, Valkey 8.1) silently
	# drop from it every transaction that the user may not run.
	replace secrets/users.acl 022 <<END
user default reset off ~* &* +@all
user redlock reset on$(rule "$redlock")$(rule "$redlock_old") $locks
user operator reset on$(rule "$operator")$(rule "$operator_old") $locks $looking
user admin reset on$(rule "$admin")$(rule "$admin_old") ~* &* +@all
user health reset on nopass +ping
END
}

[ $# = 1 ] || usage
case $1 in new | rotate | retire | list) ;; *) usage ;; esac
if [ "$1" = new ]; then
	if [ -e .env ]; then
		echo "deploy/.env exists: use rotate to change its passwords, or remove it" >&2
		exit 1
	fi
	redlock=$(random) operator=$(random) admin=$(random) grafana=$(random)
	redlock_old='' operator_old='' admin_old=''
	write
	exit 0
fi
if [ ! -e .env ]; then
	echo "deploy/.env is missing: sh deploy/secrets.sh new makes it" >&2
	exit 1
fi
if [ "$1" = list ]; then
	ls -l .env secrets/nodes secrets/users.acl
	awk '{
		passwords = gsub(/ #[0-9a-f]+/, "")
		print "user " $2 ": " (passwords == 2 ? "two passwords, one of them until retire" : passwords == 1 ? "one password" : "no password")
	}' secrets/users.acl
	exit 0
fi
field() {
	sed -n "s/^$1=//p" .env
}
redlock=$(field REDLOCK_PASSWORD) redlock_old=$(field REDLOCK_OLD_PASSWORD)
operator=$(field OPERATOR_PASSWORD) operator_old=$(field OPERATOR_OLD_PASSWORD)
admin=$(field ADMIN_PASSWORD) admin_old=$(field ADMIN_OLD_PASSWORD)
grafana=$(field GRAFANA_PASSWORD)
case $1 in
rotate)
	if [ -n "$redlock_old$operator_old$admin_old" ]; then
		echo "the passwords from the last rotate are still accepted: retire them first" >&2
		exit 1
	fi
	redlock_old=$redlock operator_old=$operator admin_old=$admin
	redlock=$(random) operator=$(random) admin=$(random)
	;;
retire)
	redlock_old='' operator_old='' admin_old=''
	;;
esac
write
