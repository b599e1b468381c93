package cluster

import (
	"strings"

	"github.com/venta-hq/redlock/internal/marks"
)

// Right is something that a server has to allow the user as which a process connects.
type Right struct {
	Rule     string // as ACL SETUSER takes it
	For      string // what it is needed for
	Optional bool   // locks can be had without it; For says what is lost
}

// Rights are all the rights that a user needs for the locks, leases, elections and records under Config.Prefix of the
// packages above ("" means "lock:", their default), and no others. A user with all of them is told everything that Check
// asks for. HELLO and AUTH are allowed to everybody. A URL that names a database needs +select as well.
func Rights(prefix string) []Right {
	if prefix == "" {
		prefix = "lock:"
	}
	p := globEscape.Replace(prefix)
	return []Right{
		{Rule: "~" + p + "*", For: "the locks, and what belongs to one that has a hash tag"},
		{Rule: "~{" + p + "*", For: "what belongs to a lock: fence counter, queue, record"},
		{Rule: "~" + marks.Key, For: "reading and writing the mark, which shows whether the node has kept its data"},
		{Rule: "&redlock:wake:*", For: "waking the next process that waits"},
		{Rule: "&redlock:election:" + p + "*", For: "hearing of a new leader"},
		{Rule: "+ping", For: "finding a node that was down"},
		{Rule: "+evalsha", For: "every step"},
		{Rule: "+eval", For: "a script that the server has lost"},
		{Rule: "+subscribe", For: "being woken"},
		{Rule: "+publish", For: "waking others"},
		{Rule: "+time", For: "starting a fence counter, queueing, and seeing restarts"},
		{Rule: "+get", For: "every step, and reading the mark"},
		{Rule: "+set", For: "acquire, and making the mark"},
		{Rule: "+del", For: "release"},
		{Rule: "+exists", For: "acquire, release"},
		{Rule: "+pexpire", For: "acquire, renewal, queueing, records"},
		{Rule: "+pttl", For: "refusing a lock that is held"},
		{Rule: "+zadd", For: "queueing"},
		{Rule: "+zcard", For: "acquiring what others wait for"},
		{Rule: "+zrange", For: "acquiring and releasing what others wait for"},
		{Rule: "+zrem", For: "leaving the queue, waking"},
		{Rule: "+hset", For: "records: checkpoints, leaders, jobs that are done"},
		{Rule: "+hmget", For: "reading records"},
		{Rule: "+cluster|slots", For: "a node that is a Redis Cluster: finding its servers"},
		{Rule: "+info", Optional: true, For: "seeing restarts. Without it that a node restarted from an old snapshot is not seen, " +
			"a replica and a server that is listed twice are not refused, and Check can not judge it"},
		{Rule: "+config|get", Optional: true, For: "seeing appendfsync always. Without it a node that has it does not vote for a quarantine after a restart"},
		{Rule: "+script|exists", Optional: true, For: "finding which scripts a server lacks. Without it they are sent when they are first needed, " +
			"and a release that comes late then lets others wait"},
		{Rule: "+script|load", Optional: true, For: "loading scripts ahead. Without it as without +script|exists"},
	}
}

// ACL is the rules of Rights in one line, for
//
//	ACL SETUSER redlock reset on >password …
//
// With required only, the optional rights are left out. A prefix with a space in it can not be said in ACL rules.
func ACL(prefix string, required bool) string {
	var rules []string
	for _, r := range Rights(prefix) {
		if !r.Optional || !required {
			rules = append(rules, r.Rule)
		}
	}
	return strings.Join(rules, " ")
}

// OperatorRights are what the user of a person who looks after the locks needs beside Rights.
func OperatorRights() []Right {
	return []Right{{Rule: "+scan", For: "listing the locks. It shows the names of all keys of the server, not only of the prefix"}}
}

// globEscape takes the special meaning from characters of a prefix.
var globEscape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
