//go:build unix

package chaos

import "time"

// nodeTimeout bounds every step of starting a node and of looking at it.
const nodeTimeout = 20 * time.Second

// Nodes is a set of independent Redis servers on addresses that stay the same.
type Nodes interface {
	Addrs() []string
	// Stop kills node i with SIGKILL.
	Stop(i int) error
	// Restart starts node i again, with the data it kept, and returns when it answers.
	Restart(i int) error
	// Pause freezes node i until Resume.
	Pause(i int) error
	Resume(i int) error
	// CutTail takes the end off the append-only file of node i, which is stopped: all but this part of it.
	CutTail(i int, part float64) error
	// SetClock has the clock of node i show another time from now on, as libfaketime reads it.
	SetClock(i int, setting string) error
	// Inside is where the other nodes reach node i.
	Inside(i int) (host, port string, err error)
	Close() error
}

// Memory is what a node knows after a crash.
type Memory string

const (
	NoMemory          Memory = ""
	SyncedEverySecond Memory = "everysec" // it writes to disk once a second
	SyncedAlways      Memory = "always"   // it writes to disk before it answers
)

// NodeKind is what the nodes of a row are like.
type NodeKind struct {
	Memory    Memory
	Clocks    []string // if not nil, each has a clock that can be set, which shows this at first, as libfaketime reads it
	Spare     bool     // there is one more, to which names can move
	SmallDisk bool     // its disk has SmallDiskSize, and is as good as new after a restart
}

const (
	SmallDiskSize = "16m"
	tooMuch       = 24 << 20 // bytes, for such a disk
)
