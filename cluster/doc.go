// Package cluster opens a set of independent Redis or Valkey nodes, and says how
// they are. Packages lock, lease, mutex, session and cache work on a [Cluster];
// one serves a whole process.
//
//	c, err := cluster.Open(ctx, cluster.Config{URLs: urls})
//	if err != nil {
//		return err
//	}
//	defer c.Close(ctx)
//
// A node that does not answer within Config.NodeTimeout is down and is not asked,
// so with a minority of the nodes down an operation costs what it costs on a
// healthy set. A probe finds it again.
//
// # Who votes
//
// A node that crashes, is emptied, or is another server than before may have lost the locks it granted. Whether it
// has is concluded from evidence: a key on it, redlock:mark, that lasts as long as its data. The mark names the run of
// the server and a memory, a random word. A process that connects writes a new word if the mark is gone, or names
// another run. Behind every batch of commands the mark is read on the same connection. The answers count as votes only
// if the mark names the run that this process last saw behind the node, and its memory has lasted for the quarantine:
// MaxTTL and 1 % of it, twice NodeTimeout, and a quarter of MaxTTL for connections to a server that the node's name led
// to before. No connection is used for longer than that quarter. How long a memory has lasted is what this process has
// seen of it, or what the clocks of the node and of this machine both say. Uptimes and settings prove nothing. A server
// that syncs every write votes at once after a restart if its mark is still there and shows that it synced every write
// before. A node that does not vote still takes grants and renewals.
//
// Most servers read their append-only file as the user default, and drop from each transaction in it what this user
// may not run: Redis 7.0 and 8.0, Valkey 8.0 and 8.1 and Redict 7.3 do, Valkey 9.1.2 and later do not. Grants are such
// transactions. So a process asks such a server with ACL DRYRUN, from Redis 7.0 on, what default may run; if that is
// not all that locks need, or the server does not say, its append-only file counts for nothing. To switch the user
// default off without taking its rights:
//
//	ACL SETUSER default reset off ~* &* +@all
//
// So let a quarantine pass while nodes that keep nothing on disk are restarted one after another.
//
// # The set
//
// Each node's mark says which nodes are a set, and how many of them must agree: the record of the set. A process whose
// list has another size or quorum is refused, with an error that names both lists. A vote counts only under the record
// that a quorum of the listed nodes carries. When that is another record than before, nothing votes for a quarantine.
//
// Processes may call the nodes by different names: which node of the set a node is stands in its mark. A node that has
// restarted or lost its mark is given its place by a process that saw it before, or whose name for it is the name in
// the record. A process that does neither leaves it without a place, and it does not vote.
//
// A set without a record is bootstrapped by the process that opens it; another goes on with what that began. First the
// record is written to each node that can be reached, as a proposal; then it is written to each as final. The nodes
// vote at once if none of them had a mark, and no process that knew one of them came within the grace: a second and
// three times NodeTimeout, 1.75 s by default. Every process keeps a subscription on each node, on which it notices
// within the grace that the node has restarted. Nodes of package embedded say that nobody can have used them, and wait
// for nothing. While nodes are missing, a quorum of the others is bootstrapped when a quarantine is over.
//
// The command redlock resize changes the nodes of the set by one while processes use it: docs/membership.md. Between the
// two sizes both lists count. To have another quorum, stop every process that uses the set and delete redlock:mark on
// each node.
//
// # What cannot be seen
//
// A set that has lost everything is taken for a new one if each process that knew it was cut off, could not connect, or
// was gone for the grace, or if a person emptied all nodes at once. Two lists that share fewer nodes than a quorum are
// told apart only by a shared node that answers and has its mark.
//
// A node may forget without a trace: its disk lies, or loses the end of a file; it is started on an old backup, or a
// copy, of an append-only file that was synced; it is made a replica of its own lagging replica, and master again,
// until the next connection is made; appendfsync is turned off and on again between two connections; a lock's key is
// evicted, or expires because a clock jumped.
//
// Within a quarter of MaxTTL a name must lead to one server for all processes. A server that a name has left must be
// emptied before a name leads to it again: what it granted is gone from the set, and its mark does not show that. Of
// two servers that answer under one name in turns neither votes, if one process sees both; Check and Status say so.
//
// A server without run_id (no +info) votes while its mark lasts: that it restarted from an old snapshot is not seen. A
// node behind Sentinel is another run after a fail-over, and does not vote for a quarantine, whatever it syncs. The
// mark of a Redis Cluster names the runs of all its masters and is on one of them: that another one was emptied is not
// seen.
//
// # What a quorum tolerates
//
// Two processes hold one key only if every node that voted for both lost the key unseen: it was emptied by a person,
// evicted the key, or its clock jumped, while the server ran on. Of a key that g of n nodes granted, with a quorum of
// q, at least g + q - n nodes have to lose it within one TTL for that. So a key on a bare majority of an odd number of
// nodes tolerates no such loss, and one that all of five nodes granted tolerates two. With Config.Quorum 4, five nodes
// tolerate two in any case, and one node that is down. Restarts that are seen do not count, however many.
//
// # Rights
//
// A server that knows users (Redis 6.2 and later) can restrict the one that locks are taken as to what they need.
// [Rights] says for each rule what it is for; with the default prefix "lock:" they are together
//
//	ACL SETUSER redlock reset on >password
//		~lock:* ~{lock:* ~redlock:mark &redlock:wake:* &redlock:election:lock:*
//		+ping +evalsha +eval +subscribe +publish +time +get +set +del +exists +pexpire +pttl
//		+zadd +zcard +zrange +zrem +hset +hmget +cluster|slots
//		+multi +exec +msetnx +incrby +info +config|get +acl|dryrun +script|exists +script|load
//
// Only a node that is a Redis Cluster needs +cluster|slots. Those of the last line are optional: without the first four
// free keys are acquired by script, which costs a node more, and one log line says so; without +info a
// restart from an old snapshot is not seen, and Check says so; without +config|get or +acl|dryrun a node with
// appendfsync always does not vote for a quarantine after a restart, and Check says so; without the others a script is
// sent when it is first needed.
//
// # Log lines
//
// Config.Logger gets what a person must know. go-redis has a logger of its own, which writes to standard error: what it
// says about Sentinels, which it dials by itself, still reaches that, and some lines that are rare. It is one for the
// whole process, so this package leaves it alone; redis.SetLogger, called by the program, replaces it.
//
// # Credentials
//
// stand in URLs and clients only. No error, log line or name of a node repeats them.
package cluster
