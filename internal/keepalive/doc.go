// Package keepalive is the engine of packages lease and lock, which document what a program can rely on. A Lease is renewed
// until it is released or lost, and its context ends when it is. One goroutine renews all leases of a Leases, with one
// pipelined write to each node for what is due together.
//
// # Renewal
//
// The deadline of a lease is the time until which no other process can hold its
// key. Each renewal that a quorum of nodes confirms moves it to the time the
// renewal left plus the TTL, less the margin (nodeset.Margin). A renewal sets
// the key again on a node that has lost it; the node counts from the next
// renewal on.
//
// The lease's context ends before its deadline, or as soon as the nodes'
// answers make a quorum impossible, so a holder learns of its loss before
// another process can hold the key, as long as its own process runs. A machine
// that was suspended is noticed by its clocks having drifted apart, within a
// quarter of a second after it runs again, and by Err at once.
//
// # Records
//
// The record beside a key is its last checkpoint; RunOnce, with the key "once:" + job, and Campaign, with "election:" +
// name, keep what they know there instead. Acquire and TryAcquire resume the record before they return. Await and Try, on
// which package lock builds, leave that to the first checkpoint, so a lock without one costs nothing more.
package keepalive
