// Package cluster is a set of independent Redis nodes: connections, one ordered stream of commands per node, health,
// and the arithmetic of quorums. Package mutex builds the algorithm on it.
//
// # Streams
//
// The commands of locks to a node go through one stream, served by one goroutine: what gathers while one pipeline is under
// way is the next. Commands are executed in the order in which they were sent, and nothing is retried, because a repeated
// SET NX would lose to itself. Nothing that was sent is abandoned either: every answer is taken in, also when nobody
// waits for it any more, and Close waits for them. What waits behind a pipeline that failed is not sent.
//
// Commands of Yielding scripts, which packages cache and session use, go through a stream of their own, on another
// connection, in batches that are small in commands and in bytes of arguments and answers: however much data is moved,
// renewals of locks wait for none of it, and a node is busy with one such batch at most when a renewal comes. Large values
// go beside both streams.
//
// # Health
//
// A node that does not answer a command of a lock within NodeTimeout is down. A late answer to a command of a Yielding
// script, or to one beside the streams, may only be large: the node is down if it does not answer a PING either, or if such
// answers are late several times in a row. A node that is down is not asked, so with a minority down an operation costs what
// it costs on a healthy set; a probe finds it again, and it is first sent the releases it missed.
//
// # Delayed restart
//
// A node that crashes may forget the locks it granted. On every new connection, before the first command, the node's
// run_id and uptime are read; a node that restarted less than MaxTTL ago does not vote until then, when all that it can
// have forgotten has expired. It still takes grants and renewals meanwhile. Nodes that sync an append-only file on every
// write vote at once. A node that fails over (Sentinel, Redis Cluster) does not vote for MaxTTL after its run_id changed,
// however its servers sync: the one that stands in was told what it knows with delay. A server that does not tell its
// uptime votes; Check says so.
//
// The nodes of a set that is new vote at once too. It is new if all of its nodes are for certain younger than MaxTTL and
// none remembers an earlier run; the process that finds it so writes on every node, in the key redlock:mark, that they were
// founded together in these runs, and those that open later let the nodes vote of which that is still true. The key does
// not expire. Nodes that have all restarted are not a new set if one of them remembers, or a process runs on that knew them:
// they vote again after MaxTTL. While a node of a new set is missing, or some but not all sync every write, the others wait
// until they have run for MaxTTL.
//
// So let MaxTTL pass while nodes that keep nothing on disk are restarted one after another, or while a node is replaced that
// is in several sets: when all of them have forgotten and nobody runs who knew them, they are a new set.
//
// What cannot be seen: a node that fails over to an asynchronous replica between two runs of this process; a node whose
// memory was emptied by a person (FLUSHALL) or by eviction.
//
// # What a quorum tolerates
//
// Two processes hold one key only if every node that voted for both lost the key unseen: it was emptied by a person, evicted
// the key, or its clock jumped, while the server ran on. Of a key that g of n nodes granted, with a quorum of q, at least
// g + q - n nodes have to lose it within one TTL for that. So a key on a bare majority of an odd number of nodes tolerates
// no such loss, and one that all of five nodes granted tolerates two. With Config.Quorum 4, five nodes tolerate two in any
// case, and one node that is down. Restarts that are seen do not count, however many.
//
// # Rights
//
// A server that knows users (Redis 6.2 and later) can restrict the one that locks are taken as to what they need. Rights
// says for each rule what it is for; with the default prefix "lock:" they are together
//
//	ACL SETUSER redlock reset on >password
//		~lock:* ~{lock:* ~redlock:mark &redlock:wake:* &redlock:election:lock:*
//		+ping +evalsha +eval +subscribe +publish +time +get +set +del +exists +pexpire +pttl
//		+zadd +zcard +zrange +zrem +hset +hmget +cluster|slots
//		+info +config|get +script|exists +script|load
//
// Only a node that is a Redis Cluster needs +cluster|slots. Those of the last line are optional: without +info the node
// always votes, also when it has just forgotten locks or others take the set for a new one, and Check says so; without
// +config|get a node with appendfsync always does not vote for MaxTTL after a restart or in a new set, and Check says so;
// without the others a script is sent when it is first needed.
//
// # Log lines
//
// Config.Logger gets what a person must know. go-redis has a logger of its own, which writes to standard error: what it says
// about Sentinels, which it dials by itself, still reaches that, and some lines that are rare. It is one for the whole
// process, so this package leaves it alone; redis.SetLogger, called by the program, replaces it.
//
// # Credentials
//
// stand in URLs and clients only. No error, log line or name of a node repeats them.
package cluster
