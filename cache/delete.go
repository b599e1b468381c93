package cache

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
)

// Delete removes key, and ends a load that is in progress for it: nothing that
// was loaded before Delete returned nil is stored afterwards. It returns nil
// once the owner has confirmed the deletion, or the stand-in while the owner
// cannot be reached. Otherwise the error is an [*UnreachedError]. The deletion
// stays pending for a node that was not reached.
func (s *Cache[V]) Delete(ctx context.Context, key string) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	defer s.near.drop(key)
	return s.invalidate(ctx, "delete", key, s.dropping(key))
}

// MarkStale is [Cache.Delete] for a value that may still be served: it is
// served until its TTL ends, and one caller in the fleet that fetches it loads
// it again in the background. As after Delete, a load that is in progress is
// not stored. A key without a value is unchanged. The errors are those of
// Delete.
func (s *Cache[V]) MarkStale(ctx context.Context, key string) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	defer s.near.drop(key)
	return s.invalidate(ctx, "mark stale", key, command{script: staleScript, keys: s.names(key), args: []any{s.drops()}})
}

// invalidate runs cmd on the owner and the stand-in of key, and returns nil
// once one of them has confirmed it.
func (s *Cache[V]) invalidate(ctx context.Context, op, key string, cmd command) error {
	owner, second := s.place.of(key)
	p := newMultiWrite(op, key)
	p.drop(s.nodes[owner], cmd, s.pendingUntil(false))
	if second >= 0 {
		p.drop(s.nodes[second], cmd, s.pendingUntil(true))
	}
	return s.settle(ctx, p, func() bool { return s.confirmed(p, key) })
}

// confirmed reports whether a node of key confirmed all its commands. It is
// valid once p is done.
func (s *Cache[V]) confirmed(p *multiWrite, key string) bool {
	owner, second := s.place.of(key)
	return p.took(s.nodes[owner]) || second >= 0 && p.took(s.nodes[second])
}

// pendingUntil returns until when a deletion stays pending: the expiry of an
// entry that is stored at the end of a lease that is valid now.
func (s *Cache[V]) pendingUntil(standsIn bool) time.Time {
	if standsIn {
		return time.Now().Add(s.cfg.longestLease() + standInTTL)
	}
	return time.Now().Add(s.cfg.longestLease() + s.cfg.lifetime())
}

// settle closes p and awaits it.
func (s *Cache[V]) settle(ctx context.Context, p *multiWrite, enough func() bool) error {
	p.close()
	return s.await(ctx, p, enough)
}

// await waits for the answers of p until enough returns true, and returns their
// combined error.
func (s *Cache[V]) await(ctx context.Context, p *multiWrite, enough func() bool) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.abandon()
		return errs.Errorf("redlock: %s %q: %w", p.op, p.key, errs.Ended(ctx))
	}
	if n := len(p.failed); n > 0 {
		s.count.owed.Add(int64(n))
	}
	if enough() {
		return nil
	}
	return &UnreachedError{Op: p.op, Key: p.key, Nodes: p.failed}
}
