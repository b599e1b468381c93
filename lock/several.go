package lock

import (
	"context"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// MaxKeys is the largest number of different keys that one call can lock.
const MaxKeys = keepalive.MaxKeys

// WithLocks is [Locker.WithLock] for several keys: fn runs while all of them
// are held, and they are released when it returns or panics. [TokenOf] returns
// the token of each.
//
// All keys are requested in one round trip. If some are held by others,
// WithLocks keeps the keys that sort before the first of these, and waits for
// that one. So calls never deadlock, whatever keys they name and in whatever
// order. Only a caller that already holds another lock can: see
// [Locker.LockAll].
//
// Each key is a lock of its own for other processes, for [Locker.Inspect] and
// in metrics. The loss of one ends fn's context. The order of keys does not
// matter, and a key that is named twice is locked once. [SharedKeys] names keys
// that fn only reads.
func (k *Locker) WithLocks(ctx context.Context, keys []string, fn func(ctx context.Context) error, opts ...Option) error {
	if k == nil {
		return errNil
	}
	ctx, span := k.tel.UnderAll(ctx, len(keys))
	defer span.End()
	all, err := k.acquireAll(ctx, ctx, keys, opts)
	if err != nil {
		if span != nil {
			span.Failed(refusalClass(err))
		}
		return err
	}
	span.Began()
	return k.run(span, strings.Join(all.Keys(), ", "), all.Context(), fn, func() error { return k.releaseAll(ctx, all) })
}

// LockAll waits for all keys until ctx ends and returns them locked, or none.
// They are renewed until they are released. ctx bounds only the waiting. The
// errors are those of [Locker.WithLock], for the key that was refused. No key,
// an empty key, and more than [MaxKeys] keys are errors that match
// [cluster.ErrConfig].
//
// [Wait] and [NoWait] bound the wait for all keys together. Concurrent calls
// with NoWait for the same keys may all be refused. [MinHold] and [MaxHold]
// begin when all keys are held; [TTL] and [Owner] apply to each key.
//
// A caller that holds another lock must name only keys on the same nodes that
// sort after those it holds, prefix included. Otherwise two calls can deadlock,
// each waiting for what the other holds. Lock all keys in one call instead, or
// bound the wait. [Config.Backoff] counts the sleeps for each key separately.
func (k *Locker) LockAll(ctx context.Context, keys []string, opts ...Option) (*Locks, error) {
	all, err := k.acquireAll(ctx, context.WithoutCancel(ctx), keys, opts)
	return (*Locks)(all), err
}

// acquireAll is acquire for several keys.
func (k *Locker) acquireAll(ctx, parent context.Context, keys []string, opts []Option) (all *keepalive.Locks, err error) {
	if k == nil {
		return nil, errNil
	}
	keys, req := keepalive.Options(opts).Several(keys)
	if k.tel != nil {
		began := k.tel.Now()
		defer func() {
			for _, key := range keys {
				k.tel.Waited(ctx, key, string(req.ModeOf(key)), began, refusalClass(err))
			}
		}()
	}
	for _, key := range keys {
		if err := k.reentry(ctx, key); err != nil {
			return nil, err
		}
	}
	req.Parent = parent
	if all, err = k.engine().LockAll(ctx, keys, req); err == nil {
		k.stats.acquired.Add(int64(len(all.Keys())))
	}
	return all, err
}

// releaseAll is release for several keys. It returns the loss of the first that was
// lost.
func (k *Locker) releaseAll(ctx context.Context, all *keepalive.Locks) (lost error) {
	keys := all.Keys()
	for i, err := range all.ReleaseEach(context.WithoutCancel(ctx)) {
		if err := k.released(keys[i], err); lost == nil {
			lost = err
		}
	}
	return lost
}

// Locks holds several keys together, and renews them until they are released or
// one of them is lost. All methods may be called concurrently.
type Locks keepalive.Locks

func (l *Locks) engine() *keepalive.Locks { return (*keepalive.Locks)(l) }

// Keys returns the keys in the order in which they were locked, each once.
func (l *Locks) Keys() []string { return l.engine().Keys() }

// Token returns the fencing token of key, and 0 if it is not one of the keys.
func (l *Locks) Token(key string) int64 { return l.engine().Token(key) }

// Context returns a context that ends when one of the keys is lost, or when
// they are released. [context.Cause] reports why. [TokenOf] reads the token of
// each key from it.
func (l *Locks) Context() context.Context { return l.engine().Context() }

// Err returns nil while all keys are held, and afterwards why one of them no
// longer is. It compares the clock with the deadlines.
func (l *Locks) Err() error { return l.engine().Err() }

// Deadline returns the time until which no other process can acquire any of the
// keys. Renewals move it.
func (l *Locks) Deadline() time.Time { return l.engine().Deadline() }

// Go runs fn on a new goroutine, as [lease.Lease.Go] does: Release and Close
// wait for it before they release any key.
func (l *Locks) Go(fn func(ctx context.Context)) error { return l.engine().Go(fn) }

// Release releases all keys at the same time, each as [lease.Lease.Release]
// does. Its error joins those of the keys.
func (l *Locks) Release(ctx context.Context) error { return l.engine().Release(ctx) }
