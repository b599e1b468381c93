package cluster

import (
	"github.com/venta-hq/redlock/internal/acl"
	"github.com/venta-hq/redlock/internal/marks"
)

// Right is a permission that a server must grant to the user as which a process
// connects.
type Right struct {
	Rule     string // in the form of ACL SETUSER
	For      string // what needs it
	Optional bool   // locks work without it; For says what is lost
}

// Rights returns all rights that a user needs for locks, leases, elections and
// records whose Config.Prefix is prefix, and no others. "" means the default,
// "lock:". With all of them [Cluster.Check] can examine everything, except what
// a restart would drop from an append-only file: see [OperatorRights]. Every
// user may send HELLO and AUTH. A URL that names a database also needs +select.
func Rights(prefix string) []Right {
	if prefix == "" {
		prefix = "lock:"
	}
	p := acl.EscapeGlob(prefix)
	return []Right{
		{Rule: "~" + p + "*", For: "the locks, and the companions of a lock with a hash tag"},
		{Rule: "~{" + p + "*", For: "the companions of a lock: fence counter, queue, record"},
		{Rule: "~" + marks.Key, For: "reading and writing the mark, which shows whether the node has kept its data"},
		{Rule: "&redlock:wake:*", For: "waking the next process that waits"},
		{Rule: "&redlock:election:" + p + "*", For: "receiving news of a new leader"},
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
		{Rule: "+hset", For: "records: checkpoints, leaders, jobs that are done; keys with a limit"},
		{Rule: "+hmget", For: "reading records, and keys with a limit"},
		{Rule: "+hdel", For: "releasing a slot of a key with a limit"},
		{Rule: "+cluster|slots", For: "a node that is a Redis Cluster: finding its servers"},
		{Rule: "+multi", Optional: true, For: "acquiring a free key without a script. Without it the script does it, at about twice the cost for the node"},
		{Rule: "+exec", Optional: true, For: "as +multi"},
		{Rule: "+msetnx", Optional: true, For: "as +multi"},
		{Rule: "+incrby", Optional: true, For: "as +multi"},
		{Rule: "+info", Optional: true, For: "noticing restarts. Without it a restart from an old snapshot goes unnoticed, " +
			"a replica or a server that is listed twice is not refused, and Check cannot judge the node"},
		{Rule: "+config|get", Optional: true, For: "seeing appendfsync always. Without it a node that has it does not vote after a restart until a quarantine is over"},
		{Rule: "+acl|dryrun", Optional: true, For: "seeing that a restart drops no locks from the append-only file; it shows what any user may run. " +
			"Without it, and before Redis 7.0, a node that has appendfsync always does not vote after a restart until a quarantine is over"},
		{Rule: "+script|exists", Optional: true, For: "finding which scripts a server lacks. Without it they are sent when they are first needed, " +
			"and a release that comes late then lets others wait"},
		{Rule: "+script|load", Optional: true, For: "loading scripts ahead. Without it as without +script|exists"},
	}
}

// ACL returns the rules of [Rights] in one line, for
//
//	ACL SETUSER redlock reset on >password …
//
// If required is true, the optional rights are left out. ACL rules cannot express a
// prefix that contains a space.
func ACL(prefix string, required bool) string { return acl.Join(Rights(prefix), required) }

// OperatorRights returns the rights that an operator's user needs in addition
// to [Rights], to list locks and to check nodes.
func OperatorRights() []Right {
	return []Right{
		{Rule: "+scan", For: "listing the locks. It shows the names of all keys on the server, not only those with the prefix"},
		{Rule: "+client|list", Optional: true, For: "redlock resize: finding programs with the old list of nodes. It shows all clients of the server"},
		{Rule: "+client|pause", Optional: true, For: "redlock drill. It lets this user stop the server for everybody for a while"},
	}
}
