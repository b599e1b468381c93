package cluster

import "github.com/venta-hq/redlock/internal/nodeset"

type (
	// Status is the state of one node as this process sees it. Its fields are
	//
	//	Node        string
	//	Up          bool
	//	Err         error         // why it is down
	//	Since       time.Time     // since when it is down
	//	Votes       bool          // it is up and its grants count
	//	VotesIn     time.Duration // until they do, if it stays up
	//	TakesTurns  bool          // several servers have answered under its name lately
	//	Version     string        // "" where it does not say
	//	Uptime      time.Duration // when it was last connected to
	//	ClockOffset time.Duration // when it was last connected to: its clock minus ours
	Status = nodeset.Status

	// Health says whether anything can be locked, as this process sees it. Its
	// fields are
	//
	//	Err   error     // why nothing can be locked: a [*QuorumError], which matches
	//	                // [ErrNoQuorum], or [ErrClosed] after Close; nil while something can
	//	Since time.Time // since when; zero while Err is nil, and after Close
	//	Spare int       // voting nodes beyond a quorum; negative if they are fewer
	Health = nodeset.Health

	// Report is what a node says of itself when it is asked, beside its Status. Its
	// fields are those of Status and
	//
	//	Status      Status        // embedded
	//	Latency     time.Duration // a round trip, the fastest of three; 0 where it did not answer
	//	Persistence string        // "none", or when it syncs its append-only file: "always", "everysec", "no"; "" where it does not say
	//	Eviction    string        // maxmemory-policy; "" where it does not say
	//	Server      string        // the program, as "valkey" or "redlock-embedded"; "" where it does not say, as Redis
	Report = nodeset.Report

	// Finding is one thing that [Cluster.Check] found. Its fields are
	//
	//	Node     string   // "" for the set as a whole
	//	Severity Severity
	//	Text     string   // what was found
	//	Fix      string   // what to do about it
	//	Runbook  Runbook  // the anchor in docs/oncall.md of what to do at length
	Finding = nodeset.Finding

	// Runbook is the anchor of a heading of docs/oncall.md. Its method Link gives
	// the file with the anchor, from the root of the repository.
	Runbook = nodeset.Runbook

	// Severity says what a [Finding] can cost: [Note], [Warning] or [Danger].
	Severity = nodeset.Severity
)

const (
	Note    = nodeset.Note    // worth knowing
	Warning = nodeset.Warning // costs availability, or comes near to costing a lock
	Danger  = nodeset.Danger  // can lose a lock, or does not go away by itself
)
