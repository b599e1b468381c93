// Package cluster opens a set of independent Redis or Valkey nodes, and reports
// their state. Packages lock, lease, mutex, session and cache work on a
// [Cluster]; one Cluster serves a whole process.
//
//	c, err := cluster.Open(ctx, cluster.Config{URLs: urls})
//	if err != nil {
//		return err
//	}
//	defer c.Close(ctx)
//
// A node that does not answer within [Config.NodeTimeout] is down and is not
// asked until a probe reaches it. So an operation takes no longer while a
// minority of the nodes is down.
//
// # Who votes
//
// A node that crashes, is emptied, or is replaced by another server may have
// lost the locks it granted. The evidence is a key on the node, redlock:mark,
// that lasts as long as its data. The mark names the run of the server and a
// memory, which is a random word. A process that connects writes a new word if
// the mark is gone or names another run.
//
// The mark is read after every batch of commands, on the same connection. The
// answers count as votes only if the mark names the run that this process last
// saw at the node, and if its memory has lasted for the quarantine: MaxTTL and
// 1 % of it, twice NodeTimeout, and a quarter of MaxTTL for connections to a
// server that the node's name led to before. No connection is used for longer
// than that quarter. The age of a memory is what this process has observed, or
// what the clocks of the node and of this machine both show. Uptimes and
// settings prove nothing.
//
// A server that syncs every write votes at once after a restart if its mark is
// still there and shows that it synced every write before. A node that does not
// vote still accepts grants and renewals.
//
// Most servers read their append-only file as the user default, and drop from
// each transaction in it what this user may not run: Redis 7.0 and 8.0, Valkey
// 8.0 and 8.1 and Redict 7.3 do, Valkey 9.1.2 and later do not. Grants are such
// transactions. So a process asks such a server after a restart, with ACL DRYRUN
// (Redis 7.0 and later), what default may run. Unless default may run all that
// locks need, and the server says so, the node does not vote until a quarantine is
// over. To switch the user default off without taking its rights:
//
//	ACL SETUSER default reset off ~* &* +@all
//
// So if nodes keep nothing on disk, restart them one at a time, with a
// quarantine between two restarts.
//
// # The set
//
// Each node's mark contains the record of the set: its nodes, and how many of
// them must agree. A process whose list has another size or quorum is refused,
// with an error that names both lists. A vote counts only under the record that
// is on a quorum of the listed nodes. When that record changes, no node votes
// until a quarantine is over.
//
// Processes may use different names for the nodes: the mark says which node of
// the set a node is. A node that has restarted or lost its mark gets its place
// back from a process that saw it before, or that uses the name in the record.
// Until then it has no place and does not vote.
//
// A set without a record is bootstrapped by the process that opens it; if that
// process ends, another one continues. It writes the record to every reachable
// node, first as a proposal and then as final. The nodes vote at once if none
// of them had a mark and no process that knew one of them connected within the
// grace: a second and three times NodeTimeout, 1.75 s by default. Every process
// has a subscription on each node, on which it notices within the grace that
// the node has restarted. Nodes of package embedded report that nobody can have
// used them, and need no grace. While nodes are missing, a quorum of the others
// is bootstrapped after a quarantine.
//
// The command redlock resize adds or removes one node while processes use the
// set; docs/membership.md describes it. Until the change is final, both lists
// are valid. To change the quorum, stop every process that uses the set and
// delete redlock:mark on each node.
//
// # What cannot be seen
//
// That a server dropped parts of its append-only file when it started is not seen if
// its user default was given its rights after the start and before the first process
// connected, nor by a process of a version that does not ask.
//
// A set that has lost everything is mistaken for a new one if every process
// that knew it was cut off, could not connect, or was gone for the grace, or if
// a person emptied all nodes at once. Two lists that share fewer nodes than a
// quorum are distinguished only if a shared node answers and has its mark.
//
// A node may lose data without a trace if its disk lies or loses the end of a
// file; if it is started on an old backup, or a copy, of a synced append-only
// file; if, between two connections, it is made a replica of its own lagging
// replica and then a master again, or appendfsync is turned off and on again;
// or if a lock's key is evicted, or expires because a clock jumped.
//
// When the name of a node moves to another server, it must do so for all
// processes within a quarter of MaxTTL. The old server must be emptied before a
// name leads to it again, because its mark does not show that its grants no
// longer belong to the set. If two servers answer alternately under one name,
// neither votes once a process has seen both; Check and Status report it.
//
// A server that does not report its run_id (no +info) votes while its mark
// lasts: a restart from an old snapshot goes unnoticed. A node behind Sentinel
// has another run after a failover, and does not vote until a quarantine is
// over, whatever it syncs. The mark of a Redis Cluster names the runs of all
// its masters but is stored on one of them: it goes unnoticed if another one is
// emptied.
//
// # What a quorum tolerates
//
// Two processes hold one key only if every node that voted for both lost the
// key unseen: while the server kept running, a person emptied it, it evicted
// the key, or its clock jumped. If g of n nodes granted the key, and the quorum
// is q, at least g + q - n nodes must lose it within one TTL. So a key on a
// bare majority of an odd number of nodes tolerates no such loss, and a key
// that all of five nodes granted tolerates two. With [Config.Quorum] 4, five
// nodes always tolerate two such losses, and one node that is down. Any number
// of restarts that are noticed is tolerated.
//
// # Rights
//
// A server with access control lists (Redis 6.2 and later) can restrict the
// user of the locks to the rights they need. [Rights] explains each rule. With
// the default prefix "lock:" they are
//
//	ACL SETUSER redlock reset on >password
//		~lock:* ~{lock:* ~redlock:mark &redlock:wake:* &redlock:election:lock:*
//		+ping +evalsha +eval +subscribe +publish +time +get +set +del +exists +pexpire +pttl
//		+zadd +zcard +zrange +zrem +hset +hmget +hdel +cluster|slots
//		+multi +exec +msetnx +incrby +info +config|get +acl|dryrun +script|exists +script|load
//
// Only a node that is a Redis Cluster needs +cluster|slots. The rights of the
// last line are optional. Without the first four, free keys are acquired by
// script, which costs a node more, and a log line says so. Without +info, a
// restart from an old snapshot goes unnoticed. Without +config|get or
// +acl|dryrun, a node with appendfsync always does not vote after a restart
// until a quarantine is over. Check reports which of these are missing. Without the
// others, a script is sent when it is first needed.
//
// # Log lines
//
// [Config.Logger] receives what an operator must know. go-redis has a logger of
// its own, which writes to standard error. Its lines about Sentinels, which it
// dials itself, still go there, as do a few rare ones. That logger belongs to
// the whole process, so this package does not change it; a program can replace
// it with redis.SetLogger.
//
// # Credentials
//
// Credentials are in URLs and clients only. No error, log line or name of a
// node contains them.
package cluster
