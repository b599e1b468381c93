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
	//	Holder  Holder        // the holder that most nodes name
	//	Votes   int           // how many voting nodes name it
	//	Need    int           // a quorum
	//	Token   int64         // an upper bound of the holder's fencing token; 0: unknown
	//	Left    time.Duration // until the key expires, unless it is renewed; negative: never
	//	Waiting int           // processes that queue for it
	//	Waiters []Waiter      // the first of them, each with Process string and Since time.Time
	//	Readers []Reader      // the processes that share it, if Holder.Writer is WriterShared: a Holder, and Left time.Duration
	//	MoreReaders bool      // there may be other readers, because a node names 64 at most
	//	Views   []View        // what each node reports
	//	Limit   int           // how many can hold the key at once, by Limit; 0: one
	//	Slots   []Slot        // of a key with a limit: those that are taken
	//	Retained bool         // this process keeps the key for its next caller (Config.Retain), and nobody works under it
	//
	// Its method Mode returns the [Mode], or "" for a free key. Its method Since
	// returns when the holder, or the oldest of several holders, began to acquire
	// the key, or the zero time if that is not known.
	Inspection = quorumlock.Inspection

	// Slot is a slot of a key with a limit. Its fields are
	//
	//	Number int
	//	Holder Holder        // the holder that the most nodes name
	//	Votes  int           // how many voting nodes name it
	//	Token  int64         // the newest fencing token that the holder can have; 0: not known
	//	Left   time.Duration // until it expires, unless it is renewed
	//
	// Its method Forced reports whether it was taken away by force.
	Slot = quorumlock.Slot

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

	// Holder describes the writer of a lock's value. Its fields are
	//
	//	Writer  Writer    // NoWriter, WriterRedlock, WriterForced, WriterRedsync, WriterForeign, WriterDetached, WriterLimit or WriterShared
	//	Process string    // the first letters of its process id
	//	Host    string    // "": unknown
	//	PID     int       // 0: unknown
	//	Name    string    // the label given as Owner; "": none
	//	Since   time.Time // when the acquisition began, by the holder's clock; zero: unknown
	//	MayRetain bool    // its process may keep the key after the holder has released it (Config.Retain)
	Holder = quorumlock.Holder

	// Mode says how a key is held, or why it is kept without being held.
	Mode = quorumlock.Mode

	// State says whether enough nodes name the same holder.
	State = quorumlock.State

	// Writer says what wrote a lock's value.
	Writer = quorumlock.Writer
)

const (
	Free    = quorumlock.Free    // no node names a holder
	Held    = quorumlock.Held    // a quorum names the same holder
	Partial = quorumlock.Partial // some nodes name a holder, but no quorum does: the lock is being acquired or released, or expires
	Unknown = quorumlock.Unknown // too few nodes answered
)

const (
	ModeExclusive = quorumlock.ModeExclusive // by one holder
	ModeShared    = quorumlock.ModeShared    // by readers (Shared)
	ModeLimit     = quorumlock.ModeLimit     // by holders of slots (Limit)
	ModeDetached  = quorumlock.ModeDetached  // nobody works under it: it was detached (lease.Lease.Detach) and not attached yet
	ModeRetained  = quorumlock.ModeRetained  // nobody works under it: this process keeps it for its next caller (Config.Retain)

	// ModeForced: taken away. Its former holder may work until its TTL is over,
	// and notices at its next renewal. Of a key with a limit, all slots that are
	// taken were taken away; the others can be acquired.
	ModeForced = quorumlock.ModeForced
)

const (
	NoWriter       = quorumlock.NoWriter       // there is no value
	WriterRedlock  = quorumlock.WriterRedlock  // this library
	WriterForced   = quorumlock.WriterForced   // this library: the lock was taken away by force
	WriterRedsync  = quorumlock.WriterRedsync  // redsync, through this library or on its own
	WriterForeign  = quorumlock.WriterForeign  // something else
	WriterDetached = quorumlock.WriterDetached // this library: the lock was detached (lease.Lease.Detach) and not attached yet
	WriterLimit    = quorumlock.WriterLimit    // this library: several hold the key at once (Limit)
	WriterShared   = quorumlock.WriterShared   // this library: readers hold the key (Shared)
)

// ErrNotHeld is returned by [Locker.ForceRelease] and [Locker.ForceReleaseNow] if
// the holder that was seen does not hold the key any more.
var ErrNotHeld = quorumlock.ErrNotHeld

// ErrMayBeAcquired is returned by [Locker.ForceRelease] and
// [Locker.ForceReleaseNow] if so few nodes held the key that an attempt may be
// acquiring it on the others. The nodes that held it have released it. Inspect
// the key again.
var ErrMayBeAcquired = quorumlock.ErrMayBeAcquired

// Inspect asks all nodes who holds the key, in which mode, since when and for
// how long, and which processes wait for it. Only the process that retains a
// key knows that it does ([Config.Retain]); to others the key looks held. The
// answer may be stale by the time it is returned. If fewer nodes than a quorum
// answer, it returns what they reported and a [*cluster.QuorumError]. The error
// matches [cluster.ErrConfig] if the key cannot be used, and has ctx.Err() in
// its chain if ctx ended first.
func (k *Locker) Inspect(ctx context.Context, key string) (Inspection, error) {
	if k == nil {
		return Inspection{}, errNil
	}
	i, err := k.engine().Redlock().Inspect(ctx, key)
	return k.marked([]Inspection{i})[0], err
}

// List inspects the locks whose keys begin with prefix, in the order of their
// keys. It scans the nodes, which is slow on nodes with many keys, and needs
// [cluster.OperatorRights]. If fewer nodes than a quorum answer, it returns
// what they reported, which may be incomplete, and a [*cluster.QuorumError].
func (k *Locker) List(ctx context.Context, prefix string) ([]Inspection, error) {
	if k == nil {
		return nil, errNil
	}
	all, err := k.engine().Redlock().List(ctx, prefix)
	return k.marked(all), err
}

// marked says of each whether this process retains the key.
func (k *Locker) marked(all []Inspection) []Inspection {
	k.engine().MarkRetained(all)
	return all
}

// ForceRelease takes the key from the holder that seen names, and from no
// other. Other processes can acquire the key when that holder's TTL has passed,
// which takes at most freeIn. The holder's context ends at its next renewal,
// with a [*LostError] of class "forced" that names by, the label of whoever
// releases. If by is "", it is [Config.Owner]. Requests of the holder that
// are under way do not return the key to it. A key that readers share is taken
// from those that seen names; if seen.MoreReaders is set, it is taken from all,
// also from those that came since. Of a key with a limit, the slots in
// seen.Slots are taken from their holders: leave out those that are to stay.
//
// The error is [ErrNotHeld], [ErrMayBeAcquired], or a [*cluster.QuorumError] if
// too few nodes answered, so that the holder may keep the key. It matches
// [cluster.ErrConfig] if an argument cannot be used, and has ctx.Err() in its
// chain if ctx ended first.
func (k *Locker) ForceRelease(ctx context.Context, seen Inspection, by string) (freeIn time.Duration, err error) {
	if k == nil {
		return 0, errNil
	}
	return k.engine().Redlock().ForceRelease(ctx, seen, by)
}

// ForceReleaseNow is [Locker.ForceRelease] for a holder that is known to be
// dead: other processes can acquire the key at once. If the holder is alive,
// two processes may hold the key until a renewal finds too few nodes left to the
// holder. A renewal also sets the key again on a node that has released it, so a
// live holder whose renewals are answered by few nodes may keep the key, and not
// notice that another process held it with a larger token. The errors are those
// of ForceRelease.
func (k *Locker) ForceReleaseNow(ctx context.Context, seen Inspection) error {
	if k == nil {
		return errNil
	}
	return k.engine().Redlock().ForceReleaseNow(ctx, seen)
}
