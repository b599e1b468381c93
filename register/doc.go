// Package register keeps small records on a quorum of nodes, each with a version: the fencing token of its writer and the
// writer's sequence number. A node takes a record only if it is newer than what it has.
//
// # What is promised
//
// A write that returned nil is on a quorum. Resume, with a new token, finds the newest of those, and returns it only
// when it stands on a quorum under the new token; so two readers never see a record go backwards, and nothing that a
// writer with an older token writes from then on, or wrote before without success, is ever seen.
//
// This holds as long as fewer than a quorum of nodes forget a record. A node that restarted and keeps no append-only
// file may have forgotten, so it has no say about what the newest is while others have run for longer
// (cluster.Node.Remembers), and Resume writes to it what it missed.
package register
