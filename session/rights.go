package session

import (
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/acl"
	"github.com/venta-hq/redlock/internal/marks"
)

// Rights returns all rights that a user needs for a Store whose [Config.Prefix]
// is prefix, and no others. "" means the default, "session:". Update also needs
// [cluster.Rights]. Every user may send HELLO and AUTH.
func Rights(prefix string) []cluster.Right {
	if prefix == "" {
		prefix = "session:"
	}
	p := acl.EscapeGlob(prefix)
	return []cluster.Right{
		{Rule: "~" + p + "*", For: "sessions, the memory of a node, and data about users"},
		{Rule: "~" + marks.Key, For: "every Cluster: see its package"},
		{Rule: "+ping", For: "finding a node that was down"},
		{Rule: "+evalsha", For: "every step"},
		{Rule: "+eval", For: "a script that the server has lost"},
		{Rule: "+time", For: "seeing restarts"},
		{Rule: "+get", For: "every step, and reading the mark"},
		{Rule: "+set", For: "the first step on a node, and making the mark"},
		{Rule: "+del", For: "ending a session, dropping deleted fields"},
		{Rule: "+pexpire", For: "every session ends"},
		{Rule: "+hset", For: "writing"},
		{Rule: "+hget", For: "writing, and seeing who was logged out"},
		{Rule: "+hmget", For: "writing"},
		{Rule: "+hgetall", For: "reading"},
		{Rule: "+zadd", For: "listing the sessions of a user"},
		{Rule: "+zrem", For: "ending a session of a user"},
		{Rule: "+zrangebyscore", For: "listing the sessions of a user"},
		{Rule: "+zremrangebyscore", For: "creating a session of a user"},
		{Rule: "+info", Optional: true, For: "noticing restarts. Without it a node that recovers with old data may restore sessions that have ended in the meantime"},
		{Rule: "+config|get", Optional: true, For: "Cluster.Check"},
		{Rule: "+acl|dryrun", Optional: true, For: "as in cluster.Rights, on nodes that keep locks too"},
		{Rule: "+script|exists", Optional: true, For: "finding which scripts a server lacks. Without it they are sent when they are first needed"},
		{Rule: "+script|load", Optional: true, For: "loading scripts ahead. Without it as without +script|exists"},
	}
}

// ACL returns the rules of [Rights] in one line, for
//
//	ACL SETUSER session reset on >password …
//
// If required is true, the optional rights are left out. ACL rules cannot
// express a prefix that contains a space.
func ACL(prefix string, required bool) string {
	return acl.Join(Rights(prefix), required)
}
