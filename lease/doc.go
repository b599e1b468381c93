// Package lease keeps locks alive for as long as their work lasts: a Lease is renewed until it is released or lost, and
// its context ends when it is. One goroutine renews all leases of a Leases, with one pipelined write to each node for
// what is due together.
//
// # What is promised
//
// The deadline of a lease is the moment up to which nobody else can hold its key. Each renewal that a quorum of nodes
// confirms moves it to the time the renewal left plus the TTL, less the margin (cluster.Margin). A node that had lost the
// key is given it again, and counts from the next renewal on.
//
// The lease's context ends before its deadline, or as soon as the nodes' answers make a quorum impossible, so a holder
// learns of its loss before anybody else can hold the key, as long as its process runs. A machine that was suspended is
// noticed by its clocks having drifted apart, within a quarter of a second after it runs again, and by Err at once.
//
// # Names
//
// RunOnce takes the key "once:" + job, Campaign "election:" + name, and what they know of it is kept where a checkpoint of
// that key would be. Other leases do not use such keys.
//
// # What is not
//
// A process that is stopped cannot be told. Let the storage that the work writes to refuse old tokens; see Lease.Token.
package lease
