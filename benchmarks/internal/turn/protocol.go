//go:build unix

// Package turn is the language between the benchmark program and its drivers.
//
// A driver is a process that opens one library and puts load on it. It reads
// gob-encoded [Order] values from its standard input, executes them one by one,
// and writes one [Reply] for each to its standard output. It exits when its
// input ends.
//
// The package and the drivers use only the public API of the library, so that
// the same source compiles against an older revision of it.
package turn

import "time"

// Version is the version of this protocol. Increase it with every change of a
// type or of what a driver does: a driver of an older revision would otherwise
// ignore the fields it does not know and measure something else.
const Version = 2

// Order is one task of a driver. Exactly one field is set.
type Order struct {
	Open    *Open
	Drive   *Traffic
	Acquire *Leases       // acquires leases and keeps them
	Keep    time.Duration // measures the renewals of those leases for this long
	Hold    string        // acquires this key and holds it until the driver ends
}

// Open opens a library on a set of nodes. It comes first.
type Open struct {
	Library     string
	URLs        []string
	TTL         time.Duration
	RenewEvery  time.Duration // of leases; 0 is the library's default
	NodeTimeout time.Duration // 0 is the library's default
}

// Traffic is a load of locks and unlocks.
type Traffic struct {
	Key     string
	Keys    Keys
	Workers int
	For     time.Duration
	Once    bool          // each worker does one operation, instead of For
	Reads   int           // of ten operations of a worker, how many only read the key
	Work    time.Duration // under the lock
}

// Keys is the way in which workers choose their keys.
type Keys int

const (
	Own    Keys = iota // each worker locks one key of its own repeatedly
	Shared             // all workers lock the same key
	Fresh              // each operation locks a key that was never used before
)

// Leases is a number of leases that a driver holds at once.
type Leases struct {
	Key     string
	Count   int
	Workers int // that acquire them
}

// Reply is the result of an [Order].
type Reply struct {
	Version int
	Sample  Sample
	Error   string // why the order could not be executed; "" if it was
}
