package keepalive

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// Config is the configuration of package lease, where its fields are
// explained. The two convert into each other.
type Config struct {
	Prefix         string
	TTL            time.Duration
	LockDelay      time.Duration
	RenewEvery     time.Duration
	Owner          string
	FenceRetention time.Duration
	MaxCheckpoint  int
	CheckpointTTL  time.Duration
	DoneTTL        time.Duration
	Retain         time.Duration
	Backoff        func(attempt int) time.Duration
}

func (cfg Config) withDefaults() Config {
	cfg.TTL = cmp.Or(cfg.TTL, 10*time.Second)
	cfg.MaxCheckpoint = cmp.Or(cfg.MaxCheckpoint, 1<<20)
	cfg.CheckpointTTL = cmp.Or(cfg.CheckpointTTL, 7*24*time.Hour)
	cfg.DoneTTL = cmp.Or(cfg.DoneTTL, 24*time.Hour)
	if cfg.Backoff == nil {
		cfg.Backoff = exponential
	}
	return cfg
}

// exponential is the default of Config.Backoff. It keeps no state between the
// attempts of a wait; the sixth reaches the maximum.
func exponential(attempt int) (pause time.Duration) {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.25),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	for range min(attempt, 6) {
		pause = policy.NextBackOff()
	}
	return pause
}

func (cfg Config) mutex() quorumlock.Config {
	return quorumlock.Config{Prefix: cfg.Prefix, TTL: cfg.TTL, Owner: cfg.Owner, FenceRetention: cfg.FenceRetention}
}

// checkRecords reports what is wrong with the fields about records.
func (cfg Config) checkRecords(maxTTL time.Duration) error {
	var errs []error
	if cfg.MaxCheckpoint < 1 || cfg.MaxCheckpoint > 16<<20 {
		errs = append(errs, configerr.Field("Config.MaxCheckpoint", "%d is out of range; from 1 to %d bytes", cfg.MaxCheckpoint, 16<<20))
	}
	if cfg.CheckpointTTL < maxTTL {
		errs = append(errs, configerr.Field("Config.CheckpointTTL", "%v is too short; at least the Cluster's MaxTTL, %v", cfg.CheckpointTTL, maxTTL))
	}
	if cfg.DoneTTL < time.Second {
		errs = append(errs, configerr.Field("Config.DoneTTL", "%v is too short; at least 1s", cfg.DoneTTL))
	}
	return errors.Join(errs...)
}

// checkDelay reports whether a key of this ttl, which field says, would be kept for
// longer than maxTTL.
func (cfg Config) checkDelay(field string, ttl, maxTTL time.Duration) error {
	switch {
	case cfg.LockDelay < 0:
		return configerr.Field("Config.LockDelay", "%v is negative; 0 keeps a key for its TTL", cfg.LockDelay)
	case cfg.LockDelay > 0 && ttl+cfg.LockDelay > maxTTL:
		return configerr.Field(field, "%v and Config.LockDelay, %v, are %v together; at most the Cluster's MaxTTL, %v",
			ttl, cfg.LockDelay, ttl+cfg.LockDelay, maxTTL)
	}
	return nil
}

// checkRetain reports what is wrong with Retain.
func (cfg Config) checkRetain(maxTTL time.Duration) error {
	if cfg.Retain < 0 || cfg.Retain > maxTTL {
		return configerr.Field("Config.Retain", "%v is out of range; from 0, which retains nothing, to the Cluster's MaxTTL, %v", cfg.Retain, maxTTL)
	}
	return nil
}

// pace is how often a lease of this ttl is renewed, or an error that names field.
func (cfg Config) pace(field string, ttl, nodeTimeout time.Duration) (time.Duration, error) {
	if ttl <= 3*nodeTimeout {
		return 0, configerr.Field(field, "%v is too short; it must exceed %v, three times NodeTimeout", ttl, 3*nodeTimeout)
	}
	every := cmp.Or(cfg.RenewEvery, ttl/3)
	if every < nodeTimeout || every > ttl/2 {
		return 0, configerr.Field("Config.RenewEvery", "%v is out of range for a TTL of %v; from NodeTimeout, %v, to half the TTL, %v",
			every, ttl, nodeTimeout, ttl/2)
	}
	return every, nil
}

// Request is the configuration of one call. Zero fields mean the values of
// Config. Options fill it in; package lock builds on it.
type Request struct {
	TTL     time.Duration
	Owner   string
	MinHold time.Duration // the key is kept at least so long, even if it is released earlier
	MaxHold time.Duration // the lease ends after so long, even if it is not released; 0: never
	Shared  bool          // the key is held by readers
	Wait    time.Duration // how long to wait for the key, if Bounded; 0: not at all
	Bounded bool

	// Limit is how many may hold the key at once; 0: one, exclusively.
	Limit int
	// TokenBlock is how many tokens the lease owns, for hand-overs. 0 means 1. An attempt soon after a refusal asks for
	// fewer, but for 64 at least.
	TokenBlock int
	// Parent is what the lease's context derives from. nil: the context given to acquire, without its cancellation.
	Parent context.Context

	limited    bool               // Limit was given
	sharedKeys []string           // of several keys: those that are locked as with Shared
	handle     *quorumlock.Handle // to attach with; nil: the key is acquired
	waitsLater bool               // the call waits for this key when all have been asked for
	sent       func()             // called when the nodes were sent an attempt; nil: nothing is
}

func (req Request) check() error {
	errs := []error{req.checkLimit()}
	if req.MinHold < 0 {
		errs = append(errs, configerr.Field("MinHold", "%v is negative", req.MinHold))
	}
	if req.MaxHold < 0 {
		errs = append(errs, configerr.Field("MaxHold", "%v is negative; 0 means without limit", req.MaxHold))
	}
	if req.Wait < 0 {
		errs = append(errs, configerr.Field("Wait", "%v is negative; 0 means one attempt, and no Wait option until the context ends", req.Wait))
	}
	if req.sharedKeys != nil {
		errs = append(errs, configerr.Field("SharedKeys", "is for WithLocks and LockAll; give Shared for one key"))
	}
	if req.Shared && req.MinHold > 0 {
		errs = append(errs, configerr.Field("MinHold", "%v with Shared: the readers of a process share one hold; leave one of the two out", req.MinHold))
	}
	if req.MaxHold > 0 && req.MinHold > req.MaxHold {
		errs = append(errs, configerr.Field("MinHold", "%v is longer than MaxHold, %v", req.MinHold, req.MaxHold))
	}
	return errors.Join(errs...)
}

// Mode is how the request asks for its key.
func (req Request) Mode() quorumlock.Mode {
	return quorumlock.Request{Limit: req.Limit, Shared: req.Shared}.Mode()
}

// Waits reports whether the key is waited for.
func (req Request) Waits() bool { return !req.Bounded || req.Wait > 0 }

// Within calls wait with a context that ends with ctx, and after Request.Wait
// if that is set. If wait failed because of that limit, the error says so.
func (req Request) Within(ctx context.Context, wait func(ctx context.Context) error) error {
	within, end := req.within(ctx)
	return end(wait(within))
}

// within is the context of Within, and what has to be called with the error of the
// wait, which it returns.
func (req Request) within(ctx context.Context) (within context.Context, end func(error) error) {
	if !req.Bounded || req.Wait <= 0 {
		return ctx, func(err error) error { return err }
	}
	within, cancel := context.WithTimeout(ctx, req.Wait)
	return within, func(err error) error {
		late := within.Err() != nil && ctx.Err() == nil
		cancel()
		if late && err != nil {
			return quorumlock.NotWithin(err, req.Wait)
		}
		return err
	}
}

// Option changes one call. It is the Option of packages lease and lock.
type Option interface{ apply(*Request) }

// Options is what the options of one call add up to.
func Options(opts []Option) Request {
	switch {
	case len(opts) == 0:
		return Request{} // without making one on the heap
	case len(opts) == 1 && opts[0] == Shared():
		return Request{Shared: true}
	}
	var req Request
	for _, o := range opts {
		o.apply(&req)
	}
	return req
}

type option func(*Request)

func (o option) apply(req *Request) { o(req) }

// shared is the option of readers. It can be compared with others, which readers do
// often.
type shared struct{}

func (shared) apply(req *Request) { req.Shared = true }

// The options, which packages lease and lock explain.

func TTL(d time.Duration) Option     { return option(func(r *Request) { r.TTL = d }) }
func Owner(label string) Option      { return option(func(r *Request) { r.Owner = label }) }
func MinHold(d time.Duration) Option { return option(func(r *Request) { r.MinHold = d }) }
func MaxHold(d time.Duration) Option { return option(func(r *Request) { r.MaxHold = d }) }
func Shared() Option                 { return shared{} }
func SharedKeys(keys []string) Option {
	return option(func(r *Request) { r.sharedKeys = append(r.sharedKeys, keys...) })
}
func Wait(d time.Duration) Option {
	return option(func(r *Request) { r.Wait, r.Bounded = d, true })
}
