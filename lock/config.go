package lock

import (
	"time"

	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/lease"
)

// Config configures the names of keys, their lifetimes, and waiting. Zero
// fields mean their defaults. lease.Config has the same fields; the two types
// convert into each other.
type Config struct {
	// Prefix comes before every key on the nodes. Default "lock:". Processes
	// exclude each other only if they use the same Prefix.
	Prefix string

	// TTL is how long a key lives without renewal, and so how long other
	// processes wait after its holder crashed. Default 10 s. At most the
	// Cluster's MaxTTL, and more than three times its NodeTimeout, so that a
	// failed renewal can be retried.
	TTL time.Duration

	// LockDelay is how long the nodes keep a key after its holder's deadline,
	// unless it is released. A holder that is stopped past its deadline, for up
	// to LockDelay, then writes before the next holder can start, so a resource
	// that cannot check tokens is safe from it. In return, other processes wait
	// for TTL and LockDelay after a crash, and whenever a deadline passes, also
	// that of MaxHold. A lock that was lost because its key is gone or taken on
	// too many nodes is released at once. Default 0; TTL and LockDelay together
	// are at most the Cluster's MaxTTL.
	LockDelay time.Duration

	// RenewEvery is the time from one renewal of a lock to the next. Default a
	// third of its TTL. At least the Cluster's NodeTimeout, at most half the
	// TTL.
	RenewEvery time.Duration

	// Owner is a label that names the holder for people. Default "<host
	// name>:<process id>".
	Owner string

	// FenceRetention is how long the fence counter of an unused key is kept.
	// Default 24 h.
	FenceRetention time.Duration

	// MaxCheckpoint is the size of the largest checkpoint of a lease, in bytes.
	// Default 1 MiB, at most 16 MiB, and no more than can be sent to a node
	// within NodeTimeout.
	MaxCheckpoint int

	// CheckpointTTL is how long a checkpoint is kept after it was written, or
	// was taken over by a later lease. A lease keeps it alive while it is held.
	// Default 7 days; at least the Cluster's MaxTTL, so that it outlives the
	// key of a holder that crashed.
	CheckpointTTL time.Duration

	// DoneTTL is for package lease; a Locker ignores it. Default 24 h, at least
	// 1 s.
	DoneTTL time.Duration

	// Retain is how long a process keeps a released key for which no other
	// process waits. In this time, calls of the Locker with the same TTL and
	// Owner acquire the key without a round trip, with a larger token. The key
	// is released at the latest Retain after the first release, however often
	// it was acquired since. Another process that asks for the key acquires it
	// within about three round trips. A call that does not wait asks twice for
	// that, so its refusal takes slightly longer if the key is in use. Callers
	// that poll acquire the key only when Retain is over: package mutex,
	// redsync, and earlier versions with NoWait. If the process crashes, others
	// wait for the TTL. All keys that were used within Retain are renewed in
	// the meantime. To Inspect and List of other processes such a key looks
	// held; those of this process say that it is retained. Default 0: a key is
	// released at once. At most the Cluster's MaxTTL.
	Retain time.Duration

	// Backoff returns how long a waiter sleeps before it asks the nodes again,
	// unless a release wakes it earlier. attempt counts the sleeps of one wait
	// from 1; it starts again at 1 after a quorum of nodes has notified the
	// waiter. A negative result ends the wait with the error of the last
	// attempt. Backoff is called concurrently and must not block. Default: 100
	// ms, doubling up to 2 s, each varied at random by up to 25 %, without a
	// limit on attempts.
	Backoff func(attempt int) time.Duration
}

// Option configures one call. lease.Option is the same type: the options of both
// packages can be used with both.
type Option = lease.Option

// TTL replaces [Config.TTL] for one call.
func TTL(d time.Duration) Option { return lease.TTL(d) }

// Wait bounds the wait for the key. The wait ends with the error of the last
// attempt: a [*NotAcquiredError], or a *cluster.QuorumError if too few nodes
// answered. Wait(0) is [NoWait]. Wait also bounds Acquire, Campaign and RunOnce of
// a lease.Leases; TryAcquire, which does not wait, refuses it.
func Wait(d time.Duration) Option { return keepalive.Wait(d) }

// NoWait does not wait for the key: the call fails as soon as another holder is
// known, or too few nodes answer. If calls of several processes arrive at the same
// moment and split the votes, NoWait retries a few times, so that one of them
// acquires the key.
func NoWait() Option { return Wait(0) }

// MinHold keeps the key for at least d after it was acquired, even if the work is
// done earlier. So a fast job that is scheduled on many machines, whose clocks
// differ, runs once. The call still returns at once. If the process ends earlier,
// the key expires with its TTL.
func MinHold(d time.Duration) Option { return lease.MinHold(d) }

// MaxHold ends the work's context after d with a [*LostError], so that stuck work
// cannot keep the key: renewal stops, and the key is freed when the work has
// returned, or expires within its TTL.
func MaxHold(d time.Duration) Option { return lease.MaxHold(d) }

// Owner replaces [Config.Owner] for one call.
func Owner(label string) Option { return lease.Owner(label) }
