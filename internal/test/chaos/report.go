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

// The goroutines of a client that acquire keys: keepers of them keep leases, one campaigns, and lockers run WithLock. The
// others use one of the modeKeys each.
const (
	keepers = 2
	lockers = 3
)

// workers is the number of these goroutines.
var workers = keepers + 1 + lockers + len(modeWorkers)

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

func plainKeys() []string {
	return slices.Concat(hotKeys, longKeys, coldKeys, []string{jobKey})
}

// modeKey is a key that several can hold at once.
type modeKey struct {
	name    string
	readers int  // how many percent of the attempts are to read, with lock.Shared
	limit   int  // of lock.Limit; 0: none, and readers share the key
	long    bool // holders need renewals
}

var (
	mostlyRead = modeKey{name: "shared-90", readers: 90}
	halfRead   = modeKey{name: "shared-50", readers: 50}
	readLong   = modeKey{name: "shared-long", readers: 70, long: true}
	threeSlots = modeKey{name: "slots-3", limit: 3}
	twoLong    = modeKey{name: "slots-2-long", limit: 2, long: true}

	modeKeys    = []modeKey{mostlyRead, halfRead, readLong, threeSlots, twoLong}
	modeWorkers = []modeKey{mostlyRead, halfRead, readLong, threeSlots, threeSlots, twoLong}
)

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
