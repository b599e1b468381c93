// Package record keeps small records on a quorum of nodes, each with a
// version: the fencing token of its writer and the writer's sequence number. A
// node takes a record only if it is newer than what it has.
//
// A writer begins with [Resume], in two phases as in Paxos: a quorum of nodes
// promises to accept nothing from a writer with an older token, and reports
// what it has; the newest of that is written to a quorum again, under the new
// token. From then on the writer may [Write]. A token belongs to one writer,
// and a writer numbers its writes.
//
// # What is promised
//
// A write that returned nil is on a quorum, and no later Resume, one with a
// larger token, finds an older one. What Resume returned is on a quorum under
// its token, so two of them never see a record go backwards, and nothing that a
// writer with an older token writes from then on, or wrote before without
// success, is ever seen. An older writer is refused only by a newer Resume: an
// attempt at the lock, or a holder that never resumed, does not end its
// writing.
//
// This holds for as long as records and promises are kept, ttl, and as long as
// fewer than a quorum of nodes lose them. A node that restarted and keeps no
// append-only file may have lost its data, so it does not vote on what the
// newest is while others have run for longer (nodeset.Node.Remembers), and
// Resume and [Tell] write to it what it missed. If it lost a promise, a writer
// that was overtaken may believe that its write was stored; nobody reads that
// write. A node that was added to the set counts as one that lost what was
// written before, and one that was removed has lost it; a resize waits before a
// removal that could lose the last copy.
//
// [Read] promises nothing: it may return a record that only a minority has, and
// that the next Resume does not find.
package record
