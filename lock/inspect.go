package lock

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/mutex"
)

// What is said of a lock from outside, see package mutex.
type (
	// Inspection is how a lock stands, as the nodes said.
	Inspection = mutex.Inspection
	// View is what one node said of a lock.
	View = mutex.View
	// Holder is what a value on a node says of who wrote it.
	Holder = mutex.Holder
)

// ErrNotHeld is returned by ForceRelease when nobody has the key, or another than was seen.
var ErrNotHeld = mutex.ErrNotHeld

// ErrMayBeAcquired is returned by ForceReleaseNow when an attempt to acquire the key may still succeed: see
// mutex.ErrMayBeAcquired.
var ErrMayBeAcquired = mutex.ErrMayBeAcquired

// Inspect asks all nodes who has a lock, since when, for how long, and who waits. With fewer answers than a quorum it
// returns what they said and a *cluster.QuorumError.
func (k *Locker) Inspect(ctx context.Context, key string) (Inspection, error) {
	if k == nil {
		return Inspection{}, errNil
	}
	return k.leases.Redlock().Inspect(ctx, key)
}

// List inspects the locks whose keys begin with prefix, in the order of their keys. It scans the nodes; see
// mutex.Redlock.List.
func (k *Locker) List(ctx context.Context, prefix string) ([]Inspection, error) {
	if k == nil {
		return nil, errNil
	}
	return k.leases.Redlock().List(ctx, prefix)
}

// ForceRelease takes a lock away from the holder that was seen to have it. Nobody is given it before that holder's TTL is
// over, in freeIn at most, and the holder's context ends at its next renewal, with a *LostError that says so and names by
// ("" means Config.Owner). See mutex.Redlock.ForceRelease.
func (k *Locker) ForceRelease(ctx context.Context, seen Inspection, by string) (freeIn time.Duration, err error) {
	if k == nil {
		return 0, errNil
	}
	return k.leases.Redlock().ForceRelease(ctx, seen, by)
}

// ForceReleaseNow is ForceRelease for a holder that is known to be dead: others can have the lock at once.
func (k *Locker) ForceReleaseNow(ctx context.Context, seen Inspection) error {
	if k == nil {
		return errNil
	}
	return k.leases.Redlock().ForceReleaseNow(ctx, seen)
}
