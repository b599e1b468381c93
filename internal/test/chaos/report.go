//go:build unix

package chaos

import (
	"slices"
	"time"
)

// toldFinish is what a client reads on its standard input when the faults are over. The input's end means that the
// test's process is gone.
const toldFinish = "finish"

// toldLeave is what a client reads that is to end at once, as in a restart.
const toldLeave = "leave"

// toldResign is what the client with the last word reads when all others have ended.
const toldResign = "resign"

// How many goroutines of a client acquire keys: so many keep leases, one campaigns, the others run WithLock.
const (
	keepers = 2
	workers = keepers + 1 + 3
)

// What is elected, the lock behind it, and the candidate that leads when the faults are over, until every other client has
// seen it.
const (
	electionName  = "boss"
	electionKey   = "election:" + electionName
	lastCandidate = "the last"
)

// The keys, by how much they are wanted.
var (
	hotKeys  = []string{"hot-0", "hot-1"}
	longKeys = []string{"long-0", "long-1", "long-2"}
	coldKeys = []string{"cold-0", "cold-1", "cold-2", "cold-3", "cold-4", "cold-5"}
	jobKey   = "job" // of short leases only
)

func allKeys() []string {
	return slices.Concat(hotKeys, longKeys, coldKeys, []string{jobKey})
}

// Tempo is how fast time runs out.
type Tempo struct {
	TTL, MaxTTL, NodeTimeout time.Duration
}

type clientConfig struct {
	Number int
	Last   bool // is to be the last candidate
	URLs   []string
	Store  string
	Seed   uint64
	Tempo  Tempo
}

// report is one line of a client's standard output.
type report struct {
	Kind    reportKind
	Attempt *attempt  `json:",omitempty"`
	Stall   *stall    `json:",omitempty"`
	Deposit *deposit  `json:",omitempty"`
	Watch   *watch    `json:",omitempty"`
	Seen    *sighting `json:",omitempty"`
	Pace    *pace     `json:",omitempty"`
	Text    string    `json:",omitempty"`
}

type reportKind string

const (
	reportReady  reportKind = "ready" // it has met the nodes
	reportCall   reportKind = "call"  // an attempt begins
	reportHeld   reportKind = "held"  // and has a key: before the key is used, and again before it is given back
	reportOver   reportKind = "over"  // and is over
	reportStall  reportKind = "stall"
	reportKept   reportKind = "checkpoint" // is about to be made, and was or not
	reportWatch  reportKind = "watch"      // an observer begins, and ends
	reportSeen   reportKind = "seen"       // a leader
	reportPace   reportKind = "pace"       // of this process
	reportMissed reportKind = "missed"     // something that was not done in time
	reportFault  reportKind = "fault"      // something that must not happen
	reportBye    reportKind = "bye"        // everything was closed in peace
)
