//go:build unix

package chaos

import (
	"slices"
	"time"
)

// toldFinish is the word that a client reads on its standard input when the faults are over. The end of the input means
// that the test's process has ended.
const toldFinish = "finish"

// toldLeave is the word for a client that must end at once, as in a restart.
const toldLeave = "leave"

// toldResign is the word for the last candidate, sent when all other clients have ended.
const toldResign = "resign"

// The goroutines of a client that acquire keys: keepers of them keep leases, one campaigns, the others run WithLock.
const (
	keepers = 2
	workers = keepers + 1 + 3
)

// The election, its lock, and the candidate that leads after the faults until every other client has seen it.
const (
	electionName  = "boss"
	electionKey   = "election:" + electionName
	lastCandidate = "the last"
)

// The keys, by how much the clients contend for them.
var (
	hotKeys  = []string{"hot-0", "hot-1"}
	longKeys = []string{"long-0", "long-1", "long-2"}
	coldKeys = []string{"cold-0", "cold-1", "cold-2", "cold-3", "cold-4", "cold-5"}
	jobKey   = "job" // of short leases only
)

func allKeys() []string {
	return slices.Concat(hotKeys, longKeys, coldKeys, []string{jobKey})
}

// Tempo holds the durations of a scenario.
type Tempo struct {
	TTL, MaxTTL, NodeTimeout time.Duration
}

type clientConfig struct {
	Number int
	Last   bool // whether it becomes the last candidate
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
	reportReady  reportKind = "ready" // it has reached the nodes
	reportCall   reportKind = "call"  // an attempt begins
	reportHeld   reportKind = "held"  // it has a key: sent before the key is used, and again before its release
	reportOver   reportKind = "over"  // an attempt has ended
	reportStall  reportKind = "stall"
	reportKept   reportKind = "checkpoint" // before it is written, and after
	reportWatch  reportKind = "watch"      // an observer begins or ends
	reportSeen   reportKind = "seen"       // a leader was seen
	reportPace   reportKind = "pace"       // of this process
	reportMissed reportKind = "missed"     // something was not done in time
	reportFault  reportKind = "fault"      // something happened that must not
	reportBye    reportKind = "bye"        // everything was closed without error
)
