package mutex

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// Mutex is a lock on one key, held by one goroutine at a time. Nothing renews it,
// and its holder is not notified when it expires: the holder must watch
// [Mutex.Until]. All methods may be called concurrently.
type Mutex struct {
	set *nodeset.Set
	red *quorumlock.Redlock
	key string

	turn chan struct{} // holds one token while a method works on the key

	mu   sync.Mutex
	hold *quorumlock.Hold // nil while not held
}

// New returns a Mutex for key. It does not ask the nodes. The error matches
// [cluster.ErrConfig], and names every field of cfg that cannot be used, or
// says what is wrong with key.
func New(c *cluster.Cluster, key string, cfg Config) (*Mutex, error) {
	set := face.In(c)
	red, err := quorumlock.NewRedlock(set, quorumlock.Config(cfg))
	if err != nil {
		return nil, err
	}
	if err := red.Check(key, quorumlock.Request{}); err != nil {
		return nil, err
	}
	return &Mutex{set: set, red: red, key: key, turn: make(chan struct{}, 1)}, nil
}

// errNil is the error of a nil Mutex, of a program that ignored the error of
// New.
var errNil = configerr.Field("Mutex", "is nil; see the error of mutex.New")

// TryLock makes one attempt to acquire the key. The error is
//
//	*NotAcquiredError      the key is held, possibly by this Mutex, or concurrent attempts split the votes
//	*cluster.QuorumError   too few nodes answered to decide, or too few of them vote
//	cluster.ErrConfig      the key cannot be locked: it holds other data, or a right is missing
//	cluster.ErrClosed      the Cluster was closed
//	ctx.Err()              in the chain, when ctx ended first
//
// What the nodes granted to an attempt that fails is released, if need be after
// TryLock has returned.
func (m *Mutex) TryLock(ctx context.Context) error {
	if err := m.enter(ctx, "lock"); err != nil {
		return err
	}
	defer m.exit()
	return m.try(ctx)
}

// Lock retries until it succeeds or ctx ends, even while too few nodes answer.
// The error is that of the last attempt, with ctx.Err() in its chain; errors
// that match [cluster.ErrConfig] or [cluster.ErrClosed] are returned at once.
// Lock asks the nodes when the key should have expired, and before that at
// random intervals that grow up to half a second. Other goroutines can use the
// Mutex between attempts.
func (m *Mutex) Lock(ctx context.Context) error {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(500*time.Millisecond), backoff.WithMaxElapsedTime(0))
	var last error // why the last attempt failed
	for {
		err := m.TryLock(ctx)
		var held *NotAcquiredError
		switch {
		case errors.As(err, &held), errors.As(err, new(*cluster.QuorumError)):
			last = err
		case err == nil || ctx.Err() == nil || last == nil:
			return err
		}
		if ctx.Err() != nil {
			return quorumlock.WaitEnded(last, errs.Ended(ctx))
		}
		pause := policy.NextBackOff()
		if held != nil && held.FreeIn >= 0 && !held.Split {
			pause = min(pause, held.FreeIn+rand.N(5*time.Millisecond)+time.Millisecond)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (m *Mutex) enter(ctx context.Context, op string) error {
	if m == nil {
		return errNil
	}
	select {
	case m.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errs.Errorf("redlock: %s %q: %w", op, m.key, errs.Ended(ctx))
	}
}

func (m *Mutex) exit() { <-m.turn }

func (m *Mutex) try(ctx context.Context) error {
	if h := m.current(); h != nil {
		if left := nodeset.Left(h.Deadline(), time.Now()); left > 0 {
			return &NotAcquiredError{Key: m.key, Need: m.set.Quorum(), FreeIn: left, Class: quorumlock.ClassHeld, Reason: "held by this Mutex"}
		}
		h.Abort(h.Lost(quorumlock.Expired))
		m.become(nil)
	}
	h, err := m.red.Acquire(ctx, m.key, quorumlock.Request{First: true})
	if err != nil {
		return err
	}
	m.become(h)
	return nil
}

// current is the hold, nil if there is none.
func (m *Mutex) current() *quorumlock.Hold {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hold
}

func (m *Mutex) become(h *quorumlock.Hold) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold = h
}

// Extend asks the nodes to keep the key for [Config.TTL] from now on. It
// returns nil if it moved [Mutex.Until], a [*LostError] if the Mutex is no
// longer held, a [*cluster.QuorumError] if too few nodes answered (Until is
// unchanged), and [ErrReleased] if it was not held.
func (m *Mutex) Extend(ctx context.Context) error {
	if err := m.enter(ctx, "extend"); err != nil {
		return err
	}
	defer m.exit()
	h := m.current()
	if h == nil {
		return errs.Errorf("redlock: extend %q: %w", m.key, ErrReleased)
	}
	err := h.ExtendNow(ctx, m.red.Config().TTL)
	if errors.Is(err, ErrLost) {
		h.Abort(err)
		m.become(nil)
	}
	return err
}

// Unlock releases the key, even if ctx has ended; ctx bounds only the waiting.
// The Mutex is not held afterwards, whatever Unlock returns:
//
//	nil                    it was held and is released
//	*LostError             it had expired, or the key is gone or taken on too many nodes
//	*cluster.QuorumError   too few nodes answered; the others are sent the release when they recover, and the key expires
//	ErrReleased            it was not held
//	ctx.Err()              in the chain; the release continues in the background
func (m *Mutex) Unlock(ctx context.Context) error {
	if m == nil {
		return errNil
	}
	m.turn <- struct{}{} // even if ctx has ended: what is held is released
	defer m.exit()
	h := m.current()
	if h == nil {
		return errs.Errorf("redlock: unlock %q: %w", m.key, ErrReleased)
	}
	m.become(nil)
	return h.Release(ctx)
}

// Token returns the fencing token, or 0 while the Mutex is not held.
func (m *Mutex) Token() int64 {
	if h := m.current(); h != nil {
		return h.Token()
	}
	return 0
}

// Value returns the value of the key on the nodes, which identifies the
// acquisition, or "" while the Mutex is not held. A program that knows the
// value can release the key.
func (m *Mutex) Value() string {
	if h := m.current(); h != nil {
		return h.Value()
	}
	return ""
}

// Until returns the time until which no other process can acquire the key, or the
// zero time while the Mutex is not held.
func (m *Mutex) Until() time.Time {
	if h := m.current(); h != nil {
		return h.Deadline()
	}
	return time.Time{}
}
