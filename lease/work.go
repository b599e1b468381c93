package lease

import (
	"context"

	"github.com/venta-hq/redlock/internal/errs"
)

// Go runs fn on a goroutine of its own, as work under the lease: Release and Close end the lease's context, which fn is
// given, and wait for fn to return before the key is given back. A lease that is lost cannot wait: its context ends,
// and others may have the key soon. fn must not call Release with a context that does not end: each would wait for the
// other. Go returns the lease's error, and does not run fn, if the lease is over.
func (l *Lease) Go(fn func(ctx context.Context)) error {
	ctx := l.Context()
	if err := l.Err(); err != nil {
		return err
	}
	if err := l.toWork(); err != nil {
		return err
	}
	go func() {
		defer l.worked()
		fn(ctx)
	}()
	return nil
}

// toWork counts work that is waited for before the key is given back, until worked.
func (l *Lease) toWork() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return l.err
	case l.released.Load():
		return ErrReleased
	}
	l.working++
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	return nil
}

func (l *Lease) worked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.working--; l.working == 0 {
		close(l.idle)
		l.idle = nil
	}
}

// rest ends the lease's context if there is work, and returns what is closed when that has returned; nil if there is none.
// No work is added any more: the lease is marked as released.
func (l *Lease) rest() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle != nil {
		l.endLocked(ErrReleased)
	}
	return l.idle
}

// Release ends the lease: its context ends with ErrReleased, what Go runs is waited for, it is not renewed any more, and
// its key is given back. It waits until others can have the key, or ctx ends; the release goes on then, also when ctx was
// dead from the start. It returns nil, or
//
//	*LostError             the lease had been lost before
//	*cluster.QuorumError   too few nodes answered: the key expires within its TTL
//	ErrReleased            it was released before
//	ctx.Err()              in the chain
func (l *Lease) Release(ctx context.Context) error {
	inflight := &l.t.s.inflight
	inflight.begin() // before it is marked as released: Close either releases it or waits for this
	if !l.released.CompareAndSwap(false, true) {
		inflight.end()
		return errs.Errorf("redlock: release %q: %w", l.Key(), ErrReleased)
	}
	if idle := l.rest(); idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
			go func() {
				defer inflight.end()
				<-idle
				l.giveBack(context.Background())
			}()
			return errs.Errorf("redlock: release %q: its work has not returned: %w", l.Key(), errs.Ended(ctx))
		}
	}
	defer inflight.end()
	return l.giveBack(ctx)
}
