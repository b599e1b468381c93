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
// # Who votes
//
// A node that crashes, is emptied, or is another server than before may have forgotten the locks it granted. Whether it
// has is concluded from evidence: a key on it, redlock:mark, that lasts as long as its data. The mark names the run of the
// server and a memory, a random word that whoever connects changes if the mark is gone, is another server's, or is of an
// earlier run. Behind every batch of commands the mark is read on the same connection; answers count as votes only if it is of
// the run that this process last saw behind the node, and its memory has lasted for the quarantine: MaxTTL, and a quarter of it
// for connections that lead to a server that was behind the name before. Connections are made anew at that age. How long a
// memory has lasted is what this process has seen of it, or what the clocks of the node and of this machine both say. Uptimes
// and settings prove nothing; a server that syncs every write and says so votes at once after a restart if its mark shows that
// it did before, and has survived. A node that does not vote still takes grants and renewals.
//
// So let a quarantine pass while nodes that keep nothing on disk are restarted one after another.
//
// # The set
//
// Which nodes are a set, and how many of them must agree, stands in each node's mark: the record of the set. A process whose list
// has another size or quorum is refused, with an error that names both, and a vote counts only under the record that a quorum
// of the listed nodes carries, each in a place of its own. Processes may call the nodes by different names: a node's place
// stands in its mark. One that has lost its mark gets its place back from a process that saw it before, or that calls it by the
// name which it has in the record.
//
// A set without a record is founded by the process that opens it, and others go on with what it began: each node that was met
// is proposed the record, and then has it for good. If none of them had a mark, and no process that knew one of them comes
// within 1.5 s, they vote at once; each process keeps a connection to every node, on which it notices when one has lost
// everything. Nodes of package embedded say that nobody can have used them, and wait for nothing. While a node is missing, the
// others are founded when a quarantine is over.
//
// To have other nodes in the set, or another quorum, stop every process that uses it and delete redlock:mark on each node.
//
// # What cannot be seen
//
// Nodes that have all lost everything while each process that knew them was cut off or gone for 1.5 s, or that a person
// emptied all at once, are a new set. A list most of whose nodes are strangers to the set is refused only by a node that both
// share, has its mark, and answers.
//
// Nor can be seen: a node made replica of its own lagging replica, and back, until the next connection is made; a disk
// that lies; a key that is evicted, or expires because a clock jumped. A server must not become another node of the same set
// while it runs: restart it empty first. A name must lead to one server for all processes within a quarter of MaxTTL; of two
// servers behind one name, neither votes, and Check says so.
//
// A server without run_id (no +info) votes while its mark lasts: that it restarted from an old snapshot is not seen. The mark
// of a Redis Cluster names all its masters, and is on one of them.
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
// Only a node that is a Redis Cluster needs +cluster|slots. Those of the last line are optional: without +info a
// restart from an old snapshot is not seen, and Check says so; without +config|get a node with appendfsync always does not
// vote for a quarantine after a restart, and Check says so;
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
