package lock

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/internal/quorumlock"
)

type (
	// Inspection is the state of a lock, as the nodes report it. Its fields are
	//
	//	Key     string
	//	State   State         // Free, Held, Partial or Unknown
	//	Holder  Holder        // the holder that the most nodes name
	//	Votes   int           // how many voting nodes name it
	//	Need    int           // a quorum
	//	Token   int64         // the newest fencing token that the holder can have; 0: not known
	//	Left    time.Duration // until the key expires, unless it is renewed; negative: never
	//	Waiting int           // processes that queue for it
	//	Waiters []Waiter      // the first of them: Process string, Since time.Time
	//	Readers []Reader      // the processes that share it, if Holder.Writer is WriterShared: a Holder, and Left time.Duration
	//	Views   []View        // of each node
	Inspection = quorumlock.Inspection

	// View is what one node reports of a lock. Its fields are
	//
	//	Node    string
	//	Err     error         // why it did not answer
	//	Votes   bool          // its grants count at present
	//	Holder  Holder
	//	Left    time.Duration // until the key expires there; negative: never
	//	Fence   int64         // the fence counter; 0: there is none
	//	Waiting int
	View = quorumlock.View

	// Holder is what a lock's value says of its writer. Its fields are
	//
	//	Writer  Writer    // NoWriter, WriterRedlock, WriterForced, WriterRedsync, WriterForeign, WriterDetached or WriterShared
	//	Process string    // the first letters of its process id
	//	Host    string    // "" where it is not said
	//	PID     int       // 0 where it is not said
	//	Name    string    // the label given as Owner; "" if none was
	//	Since   time.Time // when the acquisition began, by the holder's clock; zero: not said
	Holder = quorumlock.Holder

	// State is how many nodes name a lock's holder.
	State = quorumlock.State

	// Writer says what wrote a lock's value.
	Writer = quorumlock.Writer
)

const (
	Free    = quorumlock.Free    // no node names a holder
	Held    = quorumlock.Held    // a quorum names the same
	Partial = quorumlock.Partial // too few nodes name one: it is being acquired or released, or expires
	Unknown = quorumlock.Unknown // too few nodes answered to tell
)

const (
	NoWriter       = quorumlock.NoWriter       // there is no value
	WriterRedlock  = quorumlock.WriterRedlock  // this library, any process of it
	WriterForced   = quorumlock.WriterForced   // this library: the lock was taken away by force
	WriterRedsync  = quorumlock.WriterRedsync  // a redsync, through this library or by itself
	WriterForeign  = quorumlock.WriterForeign  // something else
	WriterDetached = quorumlock.WriterDetached // this library: the lock was detached (lease.Lease.Detach) and is not attached yet
	WriterShared   = quorumlock.WriterShared   // this library: readers hold the key (Shared)
)

// ErrNotHeld is returned by [Locker.ForceRelease] and [Locker.ForceReleaseNow] if
// the holder that was seen does not hold the key any more.
var ErrNotHeld = quorumlock.ErrNotHeld

// ErrMayBeAcquired is returned by [Locker.ForceReleaseNow] if so few nodes held the
// key that an attempt may be under way, which acquires it on the others. What they
// held is released. Inspect the key again.
var ErrMayBeAcquired = quorumlock.ErrMayBeAcquired

// Inspect asks all nodes for the holder of the key, since when and for how long, and which
// processes wait for it. The answer may be stale by the time it is returned. With
// fewer answers than a quorum it returns them and a *cluster.QuorumError. The error
// matches cluster.ErrConfig if the key cannot be used, and has ctx.Err() in its chain
// if ctx ended first.
func (k *Locker) Inspect(ctx context.Context, key string) (Inspection, error) {
	if k == nil {
		return Inspection{}, errNil
	}
	return k.leases.Redlock().Inspect(ctx, key)
}

// List inspects the locks whose keys begin with prefix, in the order of their
// keys. It scans the nodes, which takes them a while where they hold many keys,
// and needs cluster.OperatorRights. With fewer answers than a quorum it returns
// what the nodes reported, which may be a part, and a *cluster.QuorumError.
func (k *Locker) List(ctx context.Context, prefix string) ([]Inspection, error) {
	if k == nil {
		return nil, errNil
	}
	return k.leases.Redlock().List(ctx, prefix)
}

// ForceRelease takes the key from the holder that seen names, and from no other. No
// process can acquire it before that holder's TTL has passed, which takes at most
// freeIn. The holder's context ends at its next renewal, with a [*LostError] of class
// "forced" that names by, a label such as Config.Owner, its default. The error is
// [ErrNotHeld], a *cluster.QuorumError if the holder may keep the key because too few
// nodes answered, or one that matches cluster.ErrConfig, or it has ctx.Err() in its
// chain.
func (k *Locker) ForceRelease(ctx context.Context, seen Inspection, by string) (freeIn time.Duration, err error) {
	if k == nil {
		return 0, errNil
	}
	return k.leases.Redlock().ForceRelease(ctx, seen, by)
}

// ForceReleaseNow is [Locker.ForceRelease] for a holder that is known to be dead:
// other processes can acquire the key at once. If the holder lives after all, two
// processes may hold the key until its next renewal. The errors are those of
// ForceRelease, and [ErrMayBeAcquired].
func (k *Locker) ForceReleaseNow(ctx context.Context, seen Inspection) error {
	if k == nil {
		return errNil
	}
	return k.leases.Redlock().ForceReleaseNow(ctx, seen)
}
