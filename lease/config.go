package lease

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/mutex"
)

// Config says how leases are named, how long they live and how they are waited for. Zero fields mean their defaults.
type Config struct {
	// Prefix comes before every key on the nodes. Default "lock:". It must be the same in everything that is to exclude
	// each other.
	Prefix string

	// TTL is how long a key outlives a process that crashed, and so how long the others wait then. Default 10 s; at
	// most the Cluster's MaxTTL, and more than three of its NodeTimeouts, so that a renewal can fail and be tried
	// again.
	TTL time.Duration

	// RenewEvery is when a lease is renewed, counted from its last renewal. Default a third of its TTL. At least one
	// NodeTimeout, at most half the TTL.
	RenewEvery time.Duration

	// Owner labels leases, so that a person can see whose they are. Default "<host name>:<process id>".
	Owner string

	// FenceRetention is how long the fence counter of a key that is not used is kept. Default 24 h.
	FenceRetention time.Duration

	// MaxCheckpoint is the largest checkpoint, in bytes. Default 1 MiB; at most 16 MiB, and what a node can be sent
	// within NodeTimeout.
	MaxCheckpoint int

	// CheckpointTTL is how long a checkpoint is kept after it was made, or taken over by a later lease; a lease that
	// stands keeps it alive, from when a third of that time is over. Default 7 days; at least the Cluster's MaxTTL, so
	// that it outlives the key of a holder that crashed.
	CheckpointTTL time.Duration

	// DoneTTL is how long RunOnce remembers that a job is done. Default 24 h.
	DoneTTL time.Duration

	// Backoff makes the policy that bounds how long a waiter sleeps between two looks at a key, if it is not woken. One
	// is made for each wait, when it is first refused. When it returns backoff.Stop the wait ends with the error of the
	// last attempt. Default: exponential from 100 ms to 2 s, without end.
	Backoff func() backoff.BackOff
}

func (cfg Config) withDefaults() Config {
	cfg.TTL = cmp.Or(cfg.TTL, 10*time.Second)
	cfg.MaxCheckpoint = cmp.Or(cfg.MaxCheckpoint, 1<<20)
	cfg.CheckpointTTL = cmp.Or(cfg.CheckpointTTL, 7*24*time.Hour)
	cfg.DoneTTL = cmp.Or(cfg.DoneTTL, 24*time.Hour)
	if cfg.Backoff == nil {
		cfg.Backoff = func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
				backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.25),
				backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
		}
	}
	return cfg
}

func (cfg Config) mutex() mutex.Config {
	return mutex.Config{Prefix: cfg.Prefix, TTL: cfg.TTL, Owner: cfg.Owner, FenceRetention: cfg.FenceRetention}
}

// checkRecords reports what is wrong with the fields about records.
func (cfg Config) checkRecords(maxTTL time.Duration) error {
	var errs []error
	if cfg.MaxCheckpoint < 1 || cfg.MaxCheckpoint > 16<<20 {
		errs = append(errs, fieldError("Config.MaxCheckpoint", "%d is out of range; from 1 to %d bytes", cfg.MaxCheckpoint, 16<<20))
	}
	if cfg.CheckpointTTL < maxTTL {
		errs = append(errs, fieldError("Config.CheckpointTTL", "%v is too short; at least the Cluster's MaxTTL, %v", cfg.CheckpointTTL, maxTTL))
	}
	if cfg.DoneTTL < time.Second {
		errs = append(errs, fieldError("Config.DoneTTL", "%v is too short; at least 1s", cfg.DoneTTL))
	}
	return errors.Join(errs...)
}

// pace is how often a lease of this ttl is renewed, or an error that names field.
func (cfg Config) pace(field string, ttl, nodeTimeout time.Duration) (time.Duration, error) {
	if ttl <= 3*nodeTimeout {
		return 0, fieldError(field, "%v is too short to be kept alive; more than three NodeTimeouts, %v", ttl, 3*nodeTimeout)
	}
	every := cmp.Or(cfg.RenewEvery, ttl/3)
	if every < nodeTimeout || every > ttl/2 {
		return 0, fieldError("Config.RenewEvery", "%v is out of range for a TTL of %v; from NodeTimeout, %v, to half the TTL, %v",
			every, ttl, nodeTimeout, ttl/2)
	}
	return every, nil
}

func fieldError(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", cluster.ErrConfig, field, fmt.Sprintf(format, args...))
}

// Request tweaks one lease. Zero fields mean what Config says. It is what options fill in; package lock builds on it.
type Request struct {
	TTL     time.Duration
	Owner   string
	MinHold time.Duration // the key is kept at least so long, even if it is released earlier
	MaxHold time.Duration // the lease ends after so long, even if it is not released; 0: never

	// TokenBlock is how many tokens the lease owns, for HandOver. 0 means 1. Who was refused and looks again soon asks
	// for fewer, but for 64 at least.
	TokenBlock int
	// Parent is what the lease's context derives from. nil: the context given to acquire, without its cancellation.
	Parent parent
	// Heir is asked who gets the lease when it is released, and told when it is over. nil: nobody.
	Heir Heir
}

// An Heir follows the life of a lease through its hand-overs. Its methods are called without any lock held and must not
// block: TakeOver at most once for each lease, Over once at the end, and it may be called before the acquiring call
// returns.
type Heir interface {
	// TakeOver is called when l is released. It may call l.HandOver, and reports whether it did with success.
	TakeOver(l *Lease) bool
	// Over is called when the key is no longer this process's: released, lost, or about to expire. l is nil if it was
	// released before and kept for MinHold only.
	Over(l *Lease)
}

func (req Request) check() error {
	var errs []error
	if req.MinHold < 0 {
		errs = append(errs, fieldError("MinHold", "%v is negative", req.MinHold))
	}
	if req.MaxHold < 0 {
		errs = append(errs, fieldError("MaxHold", "%v is negative; 0 means without limit", req.MaxHold))
	}
	if req.MaxHold > 0 && req.MinHold > req.MaxHold {
		errs = append(errs, fieldError("MinHold", "%v is longer than MaxHold, %v", req.MinHold, req.MaxHold))
	}
	return errors.Join(errs...)
}

// Option tweaks one lease.
type Option interface{ apply(*Request) }

type option func(*Request)

func (o option) apply(req *Request) { o(req) }

// TTL overrules Config.TTL.
func TTL(d time.Duration) Option { return option(func(r *Request) { r.TTL = d }) }

// Owner overrules Config.Owner.
func Owner(label string) Option { return option(func(r *Request) { r.Owner = label }) }

// MinHold keeps the key for at least d from when it was acquired, even if the lease is released earlier: a fast job
// that is due on many machines with clocks apart then runs once. Release returns at once all the same. A process that
// ends meanwhile leaves the key until its TTL.
func MinHold(d time.Duration) Option { return option(func(r *Request) { r.MinHold = d }) }

// MaxHold ends the lease after d even if it is not released, so that a stuck job does not keep the key for ever: its
// context ends with a *mutex.LostError, it is not renewed any more, and the key expires within its TTL or is given
// back by Release.
func MaxHold(d time.Duration) Option { return option(func(r *Request) { r.MaxHold = d }) }
