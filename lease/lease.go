package lease

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/register"
)

// Lease is a key that is held and kept alive until it is released or lost. All methods may be called concurrently.
type Lease struct {
	t      *renewal
	token  int64
	parent context.Context

	found    *register.Record // the last checkpoint when it was acquired, or &none; nil if the lease keeps none
	released atomic.Bool

	// Leases are many, and most are never asked for what stays nil here.
	mu      sync.Mutex
	working int32           // goroutines of Go
	err     error           // why it ended; nil while it stands
	done    chan struct{}   // as Done gives it out
	ctx     context.Context // as Context gives it out
	cancel  context.CancelCauseFunc
	idle    chan struct{} // closed when nothing works any more; nil while nothing does
}

// Key is the caller's key.
func (l *Lease) Key() string { return l.t.key() }

// Token is the fencing token: pass it to the storage that the work writes to, and let that refuse smaller ones. It is
// larger than the token of every earlier holder of this key.
func (l *Lease) Token() int64 { return l.token }

// Context ends when the lease does. context.Cause says why: a *LostError, ErrReleased, or ErrClosed.
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

// FromContext is the lease under whose Context ctx is; the innermost, if there are several.
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

// Holds reports whether ctx comes from under a lease on key, of these or other Leases on the same Cluster, that still
// stands. Who waited for the key then would wait for ever.
func (s *Leases) Holds(ctx context.Context, key string) bool {
	for l, ok := FromContext(ctx); ok; l, ok = FromContext(l.parent) {
		if l.t.s.c == s.c && l.t.hold.LockKey() == s.red.LockKey(key) && l.Err() == nil {
			return true
		}
	}
	return false
}

// Done is closed when the lease ends, as is Context().Done().
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

// Err is nil while the lease stands, and then the cause of its end. It looks at the clock itself: a process that was
// stopped past the deadline learns so from its first call.
func (l *Lease) Err() error {
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if err == nil && cluster.Passed(l.t.hold.Deadline(), time.Now()) {
		l.t.s.lose(l.t, expired)
		l.mu.Lock()
		err = l.err
		l.mu.Unlock()
	}
	return err
}

// Deadline is the moment up to which nobody else can hold the key, as of the last renewal.
func (l *Lease) Deadline() time.Time { return l.t.hold.Deadline() }

// TTL is how long the key lives after a renewal.
func (l *Lease) TTL() time.Duration { return l.t.ttl }

// Owner is the label the lease was acquired with.
func (l *Lease) Owner() string { return l.t.owner }

// Contended is since when another process is known to wait for the key; the zero time if none is.
func (l *Lease) Contended() time.Time { return l.t.s.contendedSince(l.t) }

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

// giveBack gives the key back, after the lease was marked as released and its work has returned.
func (l *Lease) giveBack(ctx context.Context) error {
	err := l.startRelease()
	switch {
	case errors.Is(err, errSettled):
		return nil
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

// errSettled says that the lease ended without a release that could be waited for: it was handed over, or its key is
// draining.
var errSettled = errors.New("settled")

// startRelease ends the lease and sends the release. After nil the hold's AwaitRelease is to be called.
func (l *Lease) startRelease() error {
	t := l.t
	if t.heir != nil && t.minUntil().IsZero() && l.Err() == nil && t.heir.TakeOver(l) {
		t.s.reportEnd(l, "handed_over")
		return errSettled
	}
	switch t.s.leave(t, l) {
	case gone: // lost, and given up then
		if lost := t.s.lossOf(t); lost != nil {
			return lost // also where it was while its work was waited for, when the lease itself had ended
		}
		return l.Err()
	case draining:
		t.s.reportEnd(l, "kept")
		return errSettled
	}
	err := t.hold.StartRelease()
	t.s.reportEnd(l, "released")
	if t.heir != nil {
		t.heir.Over(l)
	}
	return err
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

// HandOver ends l as Release does, but gives the key on, with the next token, to a new lease whose context derives from
// parent. The nodes are not asked. It fails, and l goes on, when the tokens of its token block are used up, less than
// half its TTL is left, or it does not stand any more. maxHold as in Request.
func (l *Lease) HandOver(parent context.Context, maxHold time.Duration) (*Lease, bool) {
	return l.t.s.handOver(l, parent, maxHold)
}
