package keepalive

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// Several keys are locked without deadlock by three rules, which
// several_model_test.go searches:
//
//   - There is one order of keys for all processes: that of their names on the
//     nodes.
//   - While a key is waited for, only keys before it are held. All keys are asked
//     for at once, but those behind the first that is refused are released again.
//   - When a key is lost, those behind it are released, and so is the wait.
//
// Keys that are held in this order are never released to let others pass, so
// they are acquired one after another, each through its own fair queue. In the
// queues of this process, too, the call has a place only for the key that it
// waits for.

// MaxKeys is how many keys LockAll accepts.
const MaxKeys = 64

// Locks are leases on several keys.
type Locks struct {
	leases   []*Lease // in order; the context of each derives from that of the one before
	released atomic.Bool
}

// LockAll acquires all keys, each as Lock does, or none. Keys to share are among
// them: see Several.
func (s *Leases) LockAll(ctx context.Context, keys []string, req Request) (_ *Locks, err error) {
	s.inflight.begin()
	defer s.inflight.end()
	keys = InOrder(keys)
	if err := s.checkAll(keys, req); err != nil {
		return nil, err
	}
	if req.Parent == nil {
		req.Parent = context.WithoutCancel(ctx)
	}
	if ctx.Err() != nil {
		return nil, s.refusal(keys[0], quorumlock.ClassLate, "the context had already ended", "", errs.Ended(ctx))
	}
	ctx, end := req.within(ctx)
	all := &Locks{}
	defer func() {
		if len(all.leases) < len(keys) { // also if Config.Backoff panics
			all.cut(0)
		}
	}()
	for len(all.leases) < len(keys) {
		if err := s.advance(ctx, all, keys, req); err != nil {
			return nil, end(err)
		}
	}
	s.renewer.rebind(all.leases, req)
	return all, end(nil)
}

// InOrder is keys in the order in which they are acquired, each once. All have one
// prefix, so it is the order of their names on the nodes.
func InOrder(keys []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(keys)))
}

// Several is all keys of a call, those to share among them, in the order in which
// they are acquired, and its request. A key that is in keys as well is not shared.
func (req Request) Several(keys []string) ([]string, Request) {
	req.sharedKeys = slices.DeleteFunc(slices.Clone(req.sharedKeys), func(key string) bool { return slices.Contains(keys, key) })
	return InOrder(slices.Concat(keys, req.sharedKeys)), req
}

// ModeOf is how the request asks for one of several keys.
func (req Request) ModeOf(key string) quorumlock.Mode { return req.of(key).Mode() }

// of is the request for one of several keys.
func (req Request) of(key string) Request {
	req.Shared = slices.Contains(req.sharedKeys, key)
	req.sharedKeys = nil
	return req
}

// prefix is how many of n in a row are good, from the first.
func prefix(n int, good func(i int) bool) int {
	for i := range n {
		if !good(i) {
			return i
		}
	}
	return n
}

func (s *Leases) checkAll(keys []string, req Request) error {
	if err := req.refuseLimit("WithLocks or LockAll"); err != nil {
		return err
	}
	if len(keys) == 0 {
		return configerr.Field("keys", "is empty; name at least one")
	}
	if len(keys) > MaxKeys {
		return configerr.Field("keys", "%d different keys; at most %d; lock one key that stands for many", len(keys), MaxKeys)
	}
	if req.Shared {
		return configerr.Field("Shared", "is for one key; name the keys to share with SharedKeys")
	}
	for _, key := range keys {
		each := req.of(key)
		if _, err := s.check(key, &each); err != nil {
			return err
		}
	}
	return nil
}

// advance locks at least one more key. Keys that were lost in the meantime, and
// those after them, are not held when it returns.
func (s *Leases) advance(ctx context.Context, all *Locks, keys []string, req Request) error {
	err := s.lockMore(ctx, all, keys[len(all.leases):], req)
	if valid := prefix(len(all.leases), func(i int) bool { return all.leases[i].Err() == nil }); valid < len(all.leases) {
		lost := all.leases[valid].Err()
		all.cut(valid)
		switch {
		case !req.Waits():
			return lost
		case ctx.Err() == nil:
			return nil
		}
	}
	return err
}

// lockMore asks for keys. If some are refused, it waits for the first of those.
func (s *Leases) lockMore(ctx context.Context, all *Locks, keys []string, req Request) error {
	if len(keys) > 1 || !req.Waits() {
		granted, err := s.askAtOnce(ctx, all, keys, req)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			if !transient(err) {
				err = s.refusal(keys[granted], quorumlock.ClassLate, "the nodes had not answered", "", nil)
			}
			return quorumlock.WaitEnded(err, errs.Ended(ctx))
		case !transient(err) || !req.Waits():
			return err
		}
		keys = keys[granted:]
	}
	return s.lockNext(ctx, all, keys[0], req)
}

// askAtOnce asks for keys, and waits for none. It keeps those before the first that
// is refused, and returns how many they are, and why that one was refused.
func (s *Leases) askAtOnce(ctx context.Context, all *Locks, keys []string, req Request) (granted int, err error) {
	leases, refusals := s.askEach(ctx, keys, req)
	granted = prefix(len(keys), func(i int) bool { return refusals[i] == nil })
	all.add(req.Parent, leases[:granted]...)
	giveUpAll(leases[granted:])
	if granted == len(keys) {
		return granted, nil
	}
	for _, err := range refusals { // what no wait can change comes first
		if err != nil && !transient(err) && ctx.Err() == nil {
			return granted, err
		}
	}
	return granted, refusals[granted]
}

// askEach asks for each key, all in one round trip.
func (s *Leases) askEach(ctx context.Context, keys []string, req Request) (leases []*Lease, refusals []error) {
	req.waitsLater = req.Waits()
	req.Bounded, req.Wait = true, 0
	leases, refusals = make([]*Lease, len(keys)), make([]error, len(keys))
	var asking, answered sync.WaitGroup
	s.c.Gather(func() {
		for i, key := range keys {
			asking.Add(1)
			answered.Go(func() {
				each := req
				each.sent = sync.OnceFunc(asking.Done)
				defer each.sent() // it may be refused within this process
				leases[i], refusals[i] = s.lockOne(ctx, key, each)
			})
		}
		asking.Wait()
	})
	answered.Wait()
	return leases, refusals
}

// lockNext waits for key, which follows those that are held, while none of them is
// lost.
func (s *Leases) lockNext(ctx context.Context, all *Locks, key string, req Request) error {
	req.Bounded = false
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if len(all.leases) > 0 {
		defer context.AfterFunc(all.Context(), cancel)()
	}
	l, err := s.lockOne(ctx, key, req)
	if err == nil {
		all.add(req.Parent, l)
	}
	return err
}

// lockOne is Lock without MaxHold, which begins when all keys are held.
func (s *Leases) lockOne(ctx context.Context, key string, req Request) (*Lease, error) {
	req = req.of(key)
	req.MaxHold = 0
	return s.Lock(ctx, key, req)
}

// add takes in leases that follow those there are.
func (a *Locks) add(parent context.Context, leases ...*Lease) {
	for _, l := range leases {
		if len(a.leases) > 0 {
			parent = a.Context()
		} else {
			parent = context.WithValue(parent, locksKey{}, a)
		}
		l.moveUnder(parent)
		a.leases = append(a.leases, l)
	}
}

type locksKey struct{}

// Together is the innermost lease under whose Context ctx is, with those that
// were locked in the same call, in order. It is empty if ctx is under none.
func Together(ctx context.Context) []*Lease {
	l, ok := FromContext(ctx)
	if !ok {
		return nil
	}
	if a, ok := ctx.Value(locksKey{}).(*Locks); ok && slices.Contains(a.leases, l) {
		return a.leases
	}
	return []*Lease{l}
}

// rebind has the MinHold and MaxHold of leases begin now.
func (r *renewer) rebind(leases []*Lease, req Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, l := range leases {
		switch {
		case l.t.state != live:
		case l.t.lease == l:
			l.t.bindFrom(now, req)
			r.scheduleLocked(l.t, now, l.t.due)
		case l.reader != nil:
			r.boundLocked(l, req.MaxHold)
		}
	}
}

// cut releases all leases but the first n.
func (a *Locks) cut(n int) {
	giveUpAll(a.leases[n:])
	a.leases = a.leases[:n]
}

// giveUpAll releases leases, some of which may be nil, without waiting for it.
func giveUpAll(leases []*Lease) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, l := range leases {
		if l != nil {
			l.waiveMinHold()
			l.Release(ended)
		}
	}
}

// Keys is lock.Locks.Keys.
func (a *Locks) Keys() []string {
	keys := make([]string, len(a.leases))
	for i, l := range a.leases {
		keys[i] = l.Key()
	}
	return keys
}

// Token is lock.Locks.Token.
func (a *Locks) Token(key string) int64 {
	for _, l := range a.leases {
		if l.Key() == key {
			return l.Token()
		}
	}
	return 0
}

// Context is lock.Locks.Context: that of the last lease, which ends with each of
// them.
func (a *Locks) Context() context.Context { return a.leases[len(a.leases)-1].Context() }

// Go is lock.Locks.Go.
func (a *Locks) Go(fn func(ctx context.Context)) error {
	ctx := a.Context()
	if err := a.Err(); err != nil {
		return err
	}
	for i, l := range a.leases {
		if err := l.toWork(); err != nil {
			a.worked(i)
			return err
		}
	}
	go func() {
		defer a.worked(len(a.leases))
		fn(ctx)
	}()
	return nil
}

// worked ends what toWork of the first n leases began.
func (a *Locks) worked(n int) {
	for _, l := range a.leases[:n] {
		l.worked()
	}
}

// Err is lock.Locks.Err.
func (a *Locks) Err() error {
	for _, l := range a.leases {
		if err := l.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Deadline is lock.Locks.Deadline.
func (a *Locks) Deadline() time.Time {
	first := a.leases[0].Deadline()
	for _, l := range a.leases[1:] {
		first = sooner(first, l.Deadline())
	}
	return first
}

// Release is lock.Locks.Release.
func (a *Locks) Release(ctx context.Context) error {
	if !a.released.CompareAndSwap(false, true) {
		return errs.Errorf("redlock: release of %d keys: %w", len(a.leases), ErrReleased)
	}
	return errors.Join(a.ReleaseEach(ctx)...)
}

// ReleaseEach releases all leases at the same time, and returns the error of each.
func (a *Locks) ReleaseEach(ctx context.Context) []error {
	failures := make([]error, len(a.leases))
	var released sync.WaitGroup
	for i, l := range a.leases {
		released.Go(func() { failures[i] = l.Release(ctx) })
	}
	released.Wait()
	return failures
}
