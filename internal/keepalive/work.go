package keepalive

import (
	"context"
	"errors"

	"github.com/venta-hq/redlock/internal/errs"
)

// Go is lease.Lease.Go.
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

// rest ends the lease's context if there is work, and returns a channel that is
// closed when the work has returned; nil without work. No work can be added any
// more, because the lease is marked as released.
func (l *Lease) rest(cause error) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle != nil {
		l.endLocked(cause)
	}
	return l.idle
}

// Release is lease.Lease.Release.
func (l *Lease) Release(ctx context.Context) error {
	return l.finish(ctx, "release", ErrReleased, l.giveBack)
}

// finish marks the lease as released, waits for its work to return, and then calls
// last. If ctx ends before, the key is released when the work has returned.
func (l *Lease) finish(ctx context.Context, op string, cause error, last func(context.Context) error) error {
	inflight := &l.t.s.inflight
	inflight.begin() // before it is marked as released: Close either releases it or waits for this
	if !l.released.CompareAndSwap(false, true) {
		inflight.end()
		l.mu.Lock()
		defer l.mu.Unlock()
		if !errors.Is(l.err, ErrDetached) {
			return errs.Errorf("redlock: %s %q: %w", op, l.Key(), ErrReleased)
		}
		return errs.Errorf("redlock: %s %q: %w", op, l.Key(), ErrDetached)
	}
	if idle := l.rest(cause); idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
			go func() {
				defer inflight.end()
				<-idle
				l.giveBack(context.Background())
			}()
			return errs.Errorf("redlock: %s %q: its work has not returned: %w", op, l.Key(), errs.Ended(ctx))
		}
	}
	defer inflight.end()
	return last(ctx)
}
