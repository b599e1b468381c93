// Package quorumlock is the Redlock algorithm, one step at a time: an attempt acquires a [Hold] from a quorum of independent
// nodes and agrees with them on its fencing token; a Hold is extended and released by its caller. Package keepalive, under
// lock and lease, renews, notices loss, waits and queues; package mutex is a face of it. A [OneNode] takes the steps on one node, for clients that decide about
// quorums by themselves.
//
// # What is promised
//
// Tokens are unique for a key, and an acquisition that starts after another has finished gets the larger one. This
// holds even when keys expire early and two processes believe to hold the key at once, as long as the fence counters that
// two quorums share survive, or the clocks of nodes and clients agree within MaxTTL.
//
// One node cannot raise the counters of the others: a grant whose fence lies
// more than nodeset.MaxFenceLead and MaxTTL ahead of this process's clock does
// not count, and the node is reported. Where most nodes have such counters of a
// key, acquiring it fails with an error that says so until Redlock.RepairFence
// has set them.
//
// At most one process holds a key before its deadline, as long as fewer than g + q - n nodes lose it unseen within its TTL:
// n nodes, of which a quorum, q, decides and g granted it. A node loses a key unseen when it is emptied by hand, evicts it, or
// jumps its clock by more than the margin (nodeset.Margin) while it runs on. A key that a bare majority of an odd set granted
// tolerates none; cluster.Config.Quorum is the way out. Tokens may fall, too, if all the nodes that two quorums share have
// lost the counter, and a clock was ahead.
//
// Nothing outlives its TTL on a node. An attempt that failed or was cancelled
// releases everything that it was or may have been granted: at once on nodes
// that answer, and on the others as soon as they recover.
//
// # What is not
//
// A process that is stopped after it has checked the deadline may write too
// late. Only a storage that refuses old tokens prevents that; nothing in Redis
// can.
//
// # On the nodes
//
// For the key "order:42" with the default prefix each node has, at most,
//
//	lock:order:42           the value of the holder, <process>/<nonce>/<host>:<pid>[/<owner>], with the TTL; as redsync writes it;
//	                        or limit:N while slots are taken
//	{lock:order:42}:fence   the fence counter, kept for FenceRetention after its last use, and at most an eighth longer
//	{lock:order:42}:queue   the processes that wait, by when they came, in µs; a quarter of a µs more (after 2041 a µs) for each wake since the process last looked
//	{lock:order:42}:readers the values of readers, by the ms at which they expire, while the lock key is "shared"
//	{lock:order:42}:next    the process that was woken, for Config.HandOver, or longer after wakes that it did not use
//	{lock:order:42}:slots   of a key with a limit: who has which slot; see scripts/limit.lua
//	{lock:order:42}:until   when each slot expires
//
// in one hash slot. The Lua scripts beside this file are the steps; each has the same effect when delivered twice as when
// delivered once. agree.go explains how the token is agreed on, acquire.lua how a counter starts, native.go how a free key
// is acquired without a script, limit.go how several hold a key at once, shared.go how readers share one.
package quorumlock
