package keepalive

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/record"
)

// Lease holds a key, and renews it until it is released or lost. All methods
// may be called concurrently.
type Lease struct {
	t      *renewal
	token  atomic.Int64
	reader *reader // of a hold that readers share; nil: it is exclusive, or was first
	parent context.Context

	released    atomic.Bool
	recordTaken bool // by an election or a job: the lease has no checkpoints

	// Leases are many, and most are never asked for what stays nil here.
	mu      sync.Mutex
	working int32           // goroutines of Go
	resumes int32           // calls of resume, which come one after another
	err     error           // why it ended; nil while it is valid
	done    chan struct{}   // as Done gives it out
	ctx     context.Context // as Context gives it out
	cancel  context.CancelCauseFunc
	idle    chan struct{} // closed when nothing works any more; nil while nothing does

	found    *record.Record // the last checkpoint, or &none; nil before the record was resumed
	resuming chan struct{}  // closed when that was tried; nil while nobody does
}

// Key is lease.Lease.Key.
func (l *Lease) Key() string { return l.t.key() }

// Token is lease.Lease.Token.
func (l *Lease) Token() int64 { return l.token.Load() }

// Context is lease.Lease.Context.
func (l *Lease) Context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithCancelCause((*carrier)(l))
		if l.err != nil {
			l.cancel(l.err)
		}
	}
	return l.ctx
}

// carrier is a lease as the context from which its own derives.
type carrier Lease

func (c *carrier) Deadline() (time.Time, bool) { return c.parent.Deadline() }
func (c *carrier) Done() <-chan struct{}       { return c.parent.Done() }
func (c *carrier) Err() error                  { return c.parent.Err() }

func (c *carrier) Value(key any) any {
	if key == (carrierKey{}) {
		return (*Lease)(c)
	}
	return c.parent.Value(key)
}

type carrierKey struct{}

// FromContext is lease.FromContext.
func FromContext(ctx context.Context) (l *Lease, ok bool) {
	l, ok = ctx.Value(carrierKey{}).(*Lease)
	return l, ok
}

// Under is the lease on key under whose Context ctx is; the innermost, if there are several, as there can be under different
// prefixes.
func Under(ctx context.Context, key string) (l *Lease, ok bool) {
	for l, ok = FromContext(ctx); ok && l.Key() != key; {
		l, ok = FromContext(l.parent)
	}
	return l, ok
}

// Holds reports whether ctx comes from a lease on key that has not ended, of
// these or other Leases on the same Cluster. Waiting for the key under such a
// context would deadlock.
func (s *Leases) Holds(ctx context.Context, key string) bool {
	for l, ok := FromContext(ctx); ok; l, ok = FromContext(l.parent) {
		if l.t.s.c == s.c && l.t.hold.LockKey() == s.red.LockKey(key) && l.Err() == nil {
			return true
		}
	}
	return false
}

// moveUnder makes parent what the lease's context derives from. Nobody has asked for
// that context, or Done, yet.
func (l *Lease) moveUnder(parent context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d, ok := l.parent.(datedParent); ok {
		parent = datedParent{parent, d.since}
	}
	l.parent = parent
}

// Done is lease.Lease.Done.
func (l *Lease) Done() <-chan struct{} {
	if l.parent.Done() != nil { // and when its parent does
		return l.Context().Done()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.err != nil {
			close(l.done)
		}
	}
	return l.done
}

// Err is lease.Lease.Err.
func (l *Lease) Err() error {
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if err == nil && nodeset.Passed(l.t.hold.Deadline(), time.Now()) {
		l.t.s.lose(l.t, expired)
		l.mu.Lock()
		err = l.err
		l.mu.Unlock()
	}
	return err
}

// Deadline is lease.Lease.Deadline.
func (l *Lease) Deadline() time.Time { return l.t.hold.Deadline() }

// TTL is how long the key lives after a renewal.
func (l *Lease) TTL() time.Duration { return l.t.ttl }

// Owner is the label the lease was acquired with.
func (l *Lease) Owner() string {
	if l.Shared() {
		return l.t.s.renewer.labelOf(l)
	}
	return l.t.owner
}

// end makes the lease end for this reason, if it has not ended yet.
func (l *Lease) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(cause)
}

func (l *Lease) endLocked(cause error) {
	if l.err != nil {
		return
	}
	l.err = cause
	if l.done != nil {
		close(l.done)
	}
	if l.cancel != nil {
		l.cancel(cause)
	}
}

// giveBack releases the key, after the lease was marked as released and its
// work has returned.
func (l *Lease) giveBack(ctx context.Context) error {
	err := l.startRelease()
	switch {
	case errors.Is(err, errSettled):
		return l.lost()
	case err != nil:
		return err
	}
	err = l.t.hold.AwaitRelease(ctx)
	if errors.Is(err, ErrLost) && l.lost() == nil {
		l.t.s.reportLoss(l.t, foundLate)
	}
	if lost := l.lost(); lost != nil {
		return lost // it had ended before it was released
	}
	return err
}

// abandon releases a lease that is not returned to its caller, regardless of
// its MinHold. ctx does not bound it.
func (l *Lease) abandon(ctx context.Context) {
	l.waiveMinHold()
	l.Release(context.WithoutCancel(ctx))
}

// waiveMinHold has the key released with the lease, or now if Close has released
// the lease already.
func (l *Lease) waiveMinHold() {
	t := l.t
	r := &t.s.renewer
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case t.state == draining:
		r.dropLocked(t)
		t.state = gone
		r.afterLocked(func() { r.releaseDraining(t) })
	case t.lease == l:
		t.bind(time.Time{}, t.maxUntil())
	}
}

// errSettled means that the lease ended without a release to wait for: it was
// handed over, its key is retained or draining, or others read it.
var errSettled = errors.New("settled")

// startRelease ends the lease and sends the release. After nil the hold's AwaitRelease is to be called.
func (l *Lease) startRelease() error {
	t := l.t
	if t.s.handOverNext(l) {
		t.s.reportEnd(l, "handed_over")
		return errSettled
	}
	if t.s.retain(l) {
		t.s.reportEnd(l, "kept")
		return errSettled
	}
	switch t.s.leave(t, l, ErrReleased) {
	case gone: // lost, and given up then
		return l.ended()
	case draining:
		t.s.reportEnd(l, "kept")
		return errSettled
	case reading:
		return t.s.endReading(l)
	}
	err := t.hold.StartRelease()
	t.s.reportEnd(l, "released")
	t.s.over(t, l)
	return err
}

// ended is why a lease is over whose key is gone: its loss, also where that came
// while its work was waited for, when the lease itself had ended.
func (l *Lease) ended() error {
	if lost := l.t.s.lossOf(l.t); lost != nil {
		return lost
	}
	return l.Err()
}

// lost is the error of a lease that was lost, otherwise nil.
func (l *Lease) lost() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, ErrLost) {
		return l.err
	}
	return nil
}
