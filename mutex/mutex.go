package mutex

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// Mutex is a lock that is worked by hand: nothing renews it and nobody is told when it is over, so who holds it must
// watch Until. Package lease keeps locks alive and package lock runs functions under them; both are mostly wanted.
// All methods may be called concurrently; a Mutex is held by one goroutine at a time.
type Mutex struct {
	red *Redlock
	err error // why it can not be used
	key string

	turn chan struct{} // holds one token: who works the mutex

	mu   sync.Mutex
	hold *Hold // nil while not held
}

// New makes a Mutex for key. What is wrong with key or cfg is the error of every method.
func New(c *cluster.Cluster, key string, cfg Config) *Mutex {
	red, err := NewRedlock(c, cfg)
	if err == nil {
		err = red.Check(key, Request{})
	}
	return &Mutex{red: red, err: err, key: key, turn: make(chan struct{}, 1)}
}

// TryLock makes one attempt. The errors are those of Redlock.Acquire. A Mutex that is held already, also by its own
// process, is not acquired again.
func (m *Mutex) TryLock(ctx context.Context) error {
	if err := m.enter(ctx, "lock"); err != nil {
		return err
	}
	defer m.exit()
	return m.try(ctx)
}

// Lock tries until it succeeds or ctx ends, also while too few nodes answer to
// tell. The error is that of the last attempt, with ctx.Err() in its chain; only
// one that matches cluster.ErrConfig or cluster.ErrClosed comes at once. It looks
// at the key when it should have come free, and in between at random, with
// growing pauses of up to half a second. Others can use the Mutex during the
// pauses.
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
			return WaitEnded(last, errs.Ended(ctx))
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
	if m.err != nil {
		return m.err
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
		if left := cluster.Left(h.Deadline(), time.Now()); left > 0 {
			return &NotAcquiredError{Key: m.key, Need: m.red.c.Quorum(), FreeIn: left, Reason: "held by this very Mutex"}
		}
		h.Abort(h.Lost("expired"))
		m.set(nil)
	}
	h, err := m.red.Acquire(ctx, m.key, Request{})
	if err != nil {
		return err
	}
	m.set(h)
	return nil
}

func (m *Mutex) current() *Hold {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hold
}

func (m *Mutex) set(h *Hold) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold = h
}

// Extend asks the nodes to keep the key for another Config.TTL from now. It returns nil when Until has moved, a
// *LostError when the mutex is not held any more, a *cluster.QuorumError when too few nodes answered (Until stands),
// and ErrReleased when it was not held.
func (m *Mutex) Extend(ctx context.Context) error {
	if err := m.enter(ctx, "extend"); err != nil {
		return err
	}
	defer m.exit()
	h := m.current()
	if h == nil {
		return errs.Errorf("redlock: extend %q: %w", m.key, ErrReleased)
	}
	err := h.ExtendNow(ctx, m.red.cfg.TTL)
	if errors.Is(err, ErrLost) {
		h.Abort(err)
		m.set(nil)
	}
	return err
}

// Unlock gives the key back. The errors are those of Hold.Release; the Mutex is not held afterwards, whatever it
// returns.
func (m *Mutex) Unlock(ctx context.Context) error {
	if m.err != nil {
		return m.err
	}
	m.turn <- struct{}{} // also under a dead ctx: what is held is given back
	defer m.exit()
	h := m.current()
	if h == nil {
		return errs.Errorf("redlock: unlock %q: %w", m.key, ErrReleased)
	}
	m.set(nil)
	return h.Release(ctx)
}

// Token is the fencing token, 0 while not held.
func (m *Mutex) Token() int64 {
	if h := m.current(); h != nil {
		return h.Token()
	}
	return 0
}

// Value is the identity of the acquisition, "" while not held. Who knows it can release the key.
func (m *Mutex) Value() string {
	if h := m.current(); h != nil {
		return h.Value()
	}
	return ""
}

// Until is the moment up to which nobody else can hold the key; the zero time while not held.
func (m *Mutex) Until() time.Time {
	if h := m.current(); h != nil {
		return h.Deadline()
	}
	return time.Time{}
}
