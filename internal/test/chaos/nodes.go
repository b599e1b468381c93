//go:build unix

package chaos

import "time"

// nodeTimeout bounds every step of starting and inspecting a node.
const nodeTimeout = 20 * time.Second

// Nodes is a set of independent Redis servers on addresses that stay the same.
type Nodes interface {
	Addrs() []string
	// Stop kills node i with SIGKILL.
	Stop(i int) error
	// Restart starts node i again, with the data that it kept, and returns when it answers.
	Restart(i int) error
	// Pause freezes node i until Resume.
	Pause(i int) error
	Resume(i int) error
	// CutTail truncates the append-only file of node i, which must be stopped, to this part of its size.
	CutTail(i int, part float64) error
	// SetClock sets the clock of node i, in the format of libfaketime.
	SetClock(i int, setting string) error
	// Inside returns the address at which the other nodes reach node i.
	Inside(i int) (host, port string, err error)
	Close() error
}

// Memory says which data a node has after a crash.
type Memory string

const (
	NoMemory          Memory = ""
	SyncedEverySecond Memory = "everysec" // it writes to disk once a second
	SyncedAlways      Memory = "always"   // it writes to disk before it answers
)

// NodeKind describes the nodes of a scenario.
type NodeKind struct {
	Memory    Memory
	Clocks    []string // if not nil, each node has a clock that can be set; the initial settings, in the format of libfaketime
	Spare     bool     // there is one more server, to which names can move
	SmallDisk bool     // each disk has SmallDiskSize, and is empty after a restart
}

const (
	SmallDiskSize = "16m"
	tooMuch       = 24 << 20 // bytes, for such a disk
)
