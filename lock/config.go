package lock

import (
	"errors"
	"fmt"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/mutex"
)

// Config says how locks are named, how long they live and how they are waited for. Zero fields mean their defaults.
type Config = lease.Config

// The errors of the packages below, and ErrReentrant.
var (
	ErrNotAcquired = mutex.ErrNotAcquired
	ErrLost        = mutex.ErrLost
	ErrReleased    = mutex.ErrReleased
	ErrNoQuorum    = cluster.ErrNoQuorum
	ErrClosed      = cluster.ErrClosed

	// ErrReentrant is returned, at once, when a key is asked for under a context that already holds it: waiting would
	// never end.
	ErrReentrant = errors.New("redlock: this context already holds the key")
)

type (
	// NotAcquiredError says who has the key. It matches ErrNotAcquired.
	NotAcquiredError = mutex.NotAcquiredError
	// LostError says why a lock ended while it was held. It matches ErrLost.
	LostError = mutex.LostError
)

// request is what the options of one call add up to.
type request struct {
	lease.Request
	wait    time.Duration
	limited bool // wait counts
}

// Option tweaks one call.
type Option interface{ apply(*request) }

type option func(*request)

func (o option) apply(r *request) { o(r) }

// TTL overrules Config.TTL: how long the key outlives a process that crashed.
func TTL(d time.Duration) Option { return option(func(r *request) { r.TTL = d }) }

// Wait bounds the waiting for the key. It ends with the error of the last attempt: a *NotAcquiredError, or a
// *cluster.QuorumError if too few nodes answered. Wait(0) is NoWait.
func Wait(d time.Duration) Option { return option(func(r *request) { r.wait, r.limited = d, true }) }

// NoWait does not wait for the key: it is refused as soon as somebody else is known to hold it, or too few nodes answer. Where
// calls of several processes come at the same moment and split the votes, it tries a few times, so that one of them gets it.
func NoWait() Option { return Wait(0) }

// MinHold keeps the key for at least d from when it was acquired, even if the work is done earlier: a fast job that is
// due on many machines with clocks apart then runs once. The call returns at once all the same.
func MinHold(d time.Duration) Option { return option(func(r *request) { r.MinHold = d }) }

// MaxHold ends the work's context after d with a *LostError, and lets the key go when the work has returned, or within
// its TTL if it does not.
func MaxHold(d time.Duration) Option { return option(func(r *request) { r.MaxHold = d }) }

// Owner overrules Config.Owner: the label by which a person sees whose the lock is.
func Owner(label string) Option { return option(func(r *request) { r.Owner = label }) }

func gather(opts []Option) (request, error) {
	if len(opts) == 0 {
		return request{}, nil // without making one on the heap
	}
	var r request
	for _, o := range opts {
		o.apply(&r)
	}
	if r.wait < 0 {
		return r, fmt.Errorf("%w: Wait: %v is negative; 0 means one attempt, and no Wait option until the context ends",
			cluster.ErrConfig, r.wait)
	}
	return r, nil
}
