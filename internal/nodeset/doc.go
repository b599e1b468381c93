// Package nodeset is a set of independent Redis nodes: connections, one ordered
// stream of commands per node, health, votes, and the arithmetic of quorums.
// The public view of a [Set] is package cluster, whose comment says what it
// promises; package quorumlock builds the algorithm on it.
//
// # Streams
//
// The commands of locks to a node go through one stream, served by one
// goroutine: commands that arrive while one pipeline is in progress form the
// next one. Commands are executed in the order in which they were sent, and
// nothing is retried, because a repeated SET NX would lose to itself. Nothing
// that was sent is abandoned either: every answer is processed, even if nobody
// waits for it any more, and Close waits for all answers. Commands that wait
// behind a pipeline that failed are not sent.
//
// Commands of Yielding scripts, which packages cache and session use, go
// through a stream of their own, on another connection, in batches that are
// small in commands and in bytes of arguments and answers: however much data is
// moved, renewals of locks wait for none of it, and a node is busy with one
// such batch at most when a renewal comes. Large values use connections outside
// both streams.
//
// # Health
//
// A node that does not answer a command of a lock within NodeTimeout is down. A
// late answer to a command of a Yielding script, or to one outside the streams,
// may only be large: the node is down if it does not answer a PING either, or
// if such answers are late several times in a row. A node that is down is not
// asked, so an operation costs no more with a minority down. When a probe
// reaches the node again, it is first sent the releases it missed.
package nodeset
