package cache

import (
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/acl"
	"github.com/venta-hq/redlock/internal/marks"
)

// Rights returns all rights that a user needs for a Cache whose [Config.Prefix]
// is prefix, and no others. "" means the default, "cache:". A user for locks as
// well also needs [cluster.Rights]. Every user may send HELLO and AUTH.
func Rights(prefix string) []cluster.Right {
	if prefix == "" {
		prefix = "cache:"
	}
	p := acl.EscapeGlob(prefix)
	return []cluster.Right{
		{Rule: "~" + p + "*", For: "entries, leases and tags"},
		{Rule: "~" + marks.Key, For: "every Cluster: see its package"},
		{Rule: "&redlock:cache:wake:*", For: "notifying waiters of the end of a load"},
		{Rule: "&redlock:cache:drop:" + p, For: "notifying local tiers of writes and deletions"},
		{Rule: "+ping", For: "finding a node that was down"},
		{Rule: "+evalsha", For: "every step but a plain read"},
		{Rule: "+eval", For: "a script that the server has lost"},
		{Rule: "+subscribe", For: "being told"},
		{Rule: "+publish", For: "telling"},
		{Rule: "+time", For: "the age of entries"},
		{Rule: "+get", For: "reading"},
		{Rule: "+mget", For: "reading many"},
		{Rule: "+set", For: "storing"},
		{Rule: "+del", For: "deleting"},
		{Rule: "+pexpire", For: "leases"},
		{Rule: "+pttl", For: "waiting for a lease, keeping tags"},
		{Rule: "+hget", For: "leases"},
		{Rule: "+hmget", For: "storing what was loaded"},
		{Rule: "+hset", For: "leases"},
		{Rule: "+hkeys", For: "waking waiters"},
		{Rule: "+cluster|slots", For: "a node that is a Redis Cluster: finding its servers"},
		{Rule: "+info", Optional: true, For: "noticing restarts. Without it a node that recovers with old data may serve what was deleted in the meantime"},
		{Rule: "+config|get", Optional: true, For: "Cluster.Check"},
		{Rule: "+acl|dryrun", Optional: true, For: "as in cluster.Rights, on nodes that keep locks too"},
		{Rule: "+script|exists", Optional: true, For: "finding which scripts a server lacks. Without it they are sent when they are first needed"},
		{Rule: "+script|load", Optional: true, For: "loading scripts ahead. Without it as without +script|exists"},
	}
}

// ACL returns the rules of [Rights] in one line, for
//
//	ACL SETUSER cache reset on >password …
//
// If required is true, the optional rights are left out.
func ACL(prefix string, required bool) string {
	return acl.Join(Rights(prefix), required)
}
