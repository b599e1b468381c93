package lease

import (
	"time"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// Config says how leases are named, how long they live, and how they are waited
// for. Zero fields mean their defaults. lock.Config has the same fields; the two
// convert into each other.
type Config struct {
	// Prefix comes before every key on the nodes. Default "lock:". Processes that
	// exclude each other must use the same.
	Prefix string

	// TTL is how long a key outlives a process that crashed, and so how long other
	// processes wait for it. Default 10 s. At most the Cluster's MaxTTL, and more
	// than three times its NodeTimeout, so that a renewal can fail and be retried.
	TTL time.Duration

	// LockDelay is how much longer than its holder may rely on it a key is kept, unless
	// it is released: an old holder that is stopped for up to that long, and writes
	// when it goes on, does no harm to a resource that cannot check tokens. Other
	// processes wait for it, in addition to TTL, after a crash and where the deadline
	// passes, also after MaxHold. What is left of a key that is gone or another's on
	// too many nodes is released at once. Default 0; TTL and LockDelay together are at
	// most the Cluster's MaxTTL.
	LockDelay time.Duration

	// RenewEvery is how long after its last renewal a lease is renewed. Default a
	// third of its TTL. At least NodeTimeout, at most half the TTL.
	RenewEvery time.Duration

	// Owner labels leases, so that a person can tell whose they are. Default
	// "<host name>:<process id>".
	Owner string

	// FenceRetention is how long the fence counter of an unused key is kept. Default
	// 24 h.
	FenceRetention time.Duration

	// MaxCheckpoint is the size of the largest checkpoint, in bytes. Default 1 MiB,
	// at most 16 MiB, and no more than can be sent to a node within NodeTimeout.
	MaxCheckpoint int

	// CheckpointTTL is how long a checkpoint is kept after it was written, or was
	// taken over by a later lease. A lease that is held keeps it alive. Default 7
	// days; at least the Cluster's MaxTTL, so that it outlives the key of a holder
	// that crashed.
	CheckpointTTL time.Duration

	// DoneTTL is how long RunOnce remembers that a job is done. Default 24 h, at
	// least 1 s.
	DoneTTL time.Duration

	// Retain is for package lock; Leases do not use it. Default 0, at most the
	// Cluster's MaxTTL.
	Retain time.Duration

	// Backoff returns how long a waiter sleeps before it asks the nodes again, if
	// nothing wakes it: a release usually does. attempt counts, from 1, the sleeps of
	// one wait; it starts again at 1 after a quorum of nodes has notified the waiter. A
	// negative pause ends the wait with the error of the last attempt.
	// Backoff is called by many goroutines at once and must not block. Default: 100
	// ms, doubling up to 2 s, each 25 % more or less at random, without end.
	Backoff func(attempt int) time.Duration
}

// Option changes one call. lock.Option is the same type: options of both packages
// fit all calls of both.
type Option = keepalive.Option

// TTL replaces Config.TTL.
func TTL(d time.Duration) Option { return keepalive.TTL(d) }

// Owner replaces Config.Owner.
func Owner(label string) Option { return keepalive.Owner(label) }

// MinHold keeps the key for at least d after it was acquired, even if the lease is
// released earlier. A fast job that is due on many machines whose clocks differ
// then runs once. Release still returns at once. When the process ends meanwhile,
// the key is kept until its TTL.
func MinHold(d time.Duration) Option { return keepalive.MinHold(d) }

// MaxHold ends the lease after d even if it is not released, so that a stuck job
// cannot keep the key: its context ends with a [*LostError], renewal stops, and the
// key is freed by Release, or expires within its TTL.
func MaxHold(d time.Duration) Option { return keepalive.MaxHold(d) }
