package cluster

import "github.com/venta-hq/redlock/internal/nodeset"

type (
	// Status is the state of one node as this process sees it. Its fields are
	//
	//	Node        string
	//	Up          bool
	//	Err         error         // why it is down
	//	Since       time.Time     // since when it has been down
	//	Votes       bool          // it is up, and its grants count
	//	VotesIn     time.Duration // until they do, if it and a quorum stay up; 0: at once, with a quorum
	//	New         bool          // it is in no set, and was in none: the first process that locks makes new nodes one
	//	TakesTurns  bool          // several servers have recently answered under its name
	//	Version     string        // of the server; "": unknown
	//	Uptime      time.Duration // of the server, at the last connection
	//	ClockOffset time.Duration // its clock minus this machine's, at the last connection
	Status = nodeset.Status

	// Health reports whether anything can be locked, as this process sees it.
	// Its fields are
	//
	//	Err   error     // why nothing can be locked: a [*QuorumError], which matches
	//	                // [ErrNoQuorum], or [ErrClosed] after Close; nil if something can
	//	Since time.Time // since when; zero if Err is nil, and after Close
	//	Spare int       // voting nodes beyond a quorum; negative if there are fewer
	Health = nodeset.Health

	// Report is what a node reports about itself, and its Status. Its fields
	// are those of Status and
	//
	//	Status      Status        // embedded
	//	Latency     time.Duration // the fastest of three round trips; 0: it did not answer
	//	Persistence string        // "none", or appendfsync: "always", "everysec", "no"; "": unknown
	//	Eviction    string        // maxmemory-policy; "": unknown
	//	Server      string        // the program, such as "valkey" or "redlock-embedded"; "": unknown, or Redis
	Report = nodeset.Report

	// Finding is one result of [Cluster.Check]. Its fields are
	//
	//	Node     string   // "" for the set as a whole
	//	Severity Severity
	//	Text     string   // what was found
	//	Fix      string   // what to do about it
	//	Runbook  Runbook  // the anchor of the runbook in docs/oncall.md
	Finding = nodeset.Finding

	// Runbook is the anchor of a heading of docs/oncall.md. Its method Link
	// returns the path of the file in the repository, with the anchor.
	Runbook = nodeset.Runbook

	// Severity says what a [Finding] can cost: [Note], [Warning] or [Danger].
	Severity = nodeset.Severity
)

const (
	Note    = nodeset.Note    // good to know
	Warning = nodeset.Warning // costs availability, or may soon cost a lock
	Danger  = nodeset.Danger  // can lose a lock, or needs a person to fix it
)
