package lock

import (
	"time"

	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/lease"
)

// Config says how locks are named, how long they live, and how they are waited
// for. Zero fields mean their defaults. lease.Config has the same fields; the two
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

	// RenewEvery is how long after its last renewal a lock is renewed. Default a
	// third of its TTL. At least NodeTimeout, at most half the TTL.
	RenewEvery time.Duration

	// Owner labels locks, so that a person can tell whose they are. Default
	// "<host name>:<process id>".
	Owner string

	// FenceRetention is how long the fence counter of an unused key is kept. Default
	// 24 h.
	FenceRetention time.Duration

	// MaxCheckpoint is the size of the largest checkpoint of a lease, in bytes.
	// Default 1 MiB, at most 16 MiB, and no more than can be sent to a node within
	// NodeTimeout.
	MaxCheckpoint int

	// CheckpointTTL is how long a checkpoint is kept after it was written, or was
	// taken over by a later lease. A lease that is held keeps it alive. Default 7
	// days; at least the Cluster's MaxTTL.
	CheckpointTTL time.Duration

	// DoneTTL is for package lease; a Locker does not use it. Default 24 h, at least
	// 1 s.
	DoneTTL time.Duration

	// Retain is how long a process keeps a key that it has released and that nobody
	// waits for. Until then, calls of the Locker with the same TTL and Owner acquire
	// the key without a round trip, with a larger token. However often they do, the
	// key is released when Retain is over since the first release. Another process
	// that asks for the key gets it within about three round trips; one that does not
	// wait asks twice for that, so its refusal takes a moment longer where the key is
	// in use. Callers that poll get the key when Retain is over: package mutex,
	// redsync, and earlier versions with NoWait. If the process crashes, others wait
	// for the TTL. Every key that was used within Retain is renewed meanwhile.
	// Default 0: a key is released at once. At most the Cluster's MaxTTL.
	Retain time.Duration

	// Backoff returns how long a waiter sleeps before it asks the nodes again, if
	// nothing wakes it: a release usually does. attempt counts, from 1, the sleeps of
	// one wait; it starts again at 1 after a quorum of nodes has notified the waiter. A
	// negative pause ends the wait with the error of the last attempt.
	// Backoff is called by many goroutines at once and must not block. Default: 100
	// ms, doubling up to 2 s, each 25 % more or less at random, without end.
	Backoff func(attempt int) time.Duration
}

// Option changes one call. It is lease.Option: options of both packages fit all
// calls of both.
type Option = lease.Option

// TTL replaces Config.TTL: how long the key outlives a process that crashed.
func TTL(d time.Duration) Option { return lease.TTL(d) }

// Wait bounds the waiting for the key. It ends with the error of the last attempt:
// a [*NotAcquiredError], or a *cluster.QuorumError if too few nodes answered.
// Wait(0) is [NoWait]. It bounds Acquire, Campaign and RunOnce of a lease.Leases
// likewise; TryAcquire, which does not wait, refuses it.
func Wait(d time.Duration) Option { return keepalive.Wait(d) }

// NoWait does not wait for the key: it is refused as soon as another holder is
// known, or too few nodes answer. Where calls of several processes come at the same
// moment and split the votes, it tries a few times, so that one of them gets it.
func NoWait() Option { return Wait(0) }

// MinHold keeps the key for at least d after it was acquired, even if the work is
// done earlier. A fast job that is due on many machines whose clocks differ then
// runs once. The call still returns at once.
func MinHold(d time.Duration) Option { return lease.MinHold(d) }

// MaxHold ends the work's context after d with a [*LostError], and frees the key
// when the work has returned, or within its TTL if it does not.
func MaxHold(d time.Duration) Option { return lease.MaxHold(d) }

// Owner replaces Config.Owner: the label by which a person can tell whose the lock
// is.
func Owner(label string) Option { return lease.Owner(label) }
