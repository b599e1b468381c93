package cache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// attempt is one attempt to load a key under a lease.
type attempt[V any] struct {
	s       *Cache[V]
	key     string
	load    Loader[V]
	req     request
	nonce   string // of the newest request, the only one that may be granted the lease
	lost    string // nonce of a request that was not answered, and may have been granted the lease
	seen    int64  // stamp of the newest entry that cannot be used
	late    decided
	process string // name of this process, which is notified when the lease of another caller ends; "": no notification
}

// lease is a node's answer: its entry, or the caller that may load.
type lease[V any] struct {
	node  *node
	run   string // the node's limits when it was asked
	after int64
	held  held[V]
	given bool
	left  time.Duration // of another caller's lease; 0: ask again at once
}

// fillLease is the right to load a key.
type fillLease[V any] struct {
	a *attempt[V]
	l lease[V]
}

// ask asks the key's node for an entry or the lease. A failed request may still
// arrive, even after a deletion that ended the lease of a later request. Each
// request has its own nonce, so that the late one does not grant that lease
// again.
func (a *attempt[V]) ask(ctx context.Context) (l lease[V], err error) {
	s := a.s
	n, _ := s.route(a.key)
	if n == nil {
		return l, cluster.ErrNodeDown
	}
	l.node = n
	l.run, l.after = n.limits()
	args := []any{a.nonce, s.cfg.LeaseTTL.Milliseconds(), max(a.seen, l.after), l.run, a.process, s.tagPrefix(), s.cfg.lifetime().Milliseconds(), a.lost, s.deletions(n)}
	reply, err := n.run(ctx, leaseScript, s.names(a.key), appendTags(args, a.req.tags), 0)
	if err != nil {
		a.lost, a.nonce = a.nonce, s.nonce()
		return l, err
	}
	words, _ := reply.([]any)
	switch {
	case len(words) == 1:
		l.given = words[0] == any(int64(1))
	case len(words) == 2 && words[0] == any(int64(2)):
		text, _ := words[1].(string)
		s.decode(n.sight(), text, &l.held)
		if !l.held.served() {
			a.seen = max(a.seen, l.held.entry.stamp)
		}
	case len(words) == 2 && words[0] == any(int64(0)):
		left, _ := words[1].(int64)
		l.left = max(time.Duration(left)*time.Millisecond, time.Millisecond)
	default:
		return l, unexpected(reply)
	}
	return l, nil
}

// decide returns the options that the load of key has set for its value.
func (a *attempt[V]) decide(key string) *decided {
	if key != a.key {
		return nil
	}
	return &a.late
}

// run loads under a lease, and stores the result on the node of the lease. tick
// is the tick method of the call.
func (a *attempt[V]) run(ctx context.Context, l lease[V], tick func() moment) result[V] {
	s := a.s
	began := tick()
	r := s.newRenewal(ctx)
	defer r.stop()
	r.add(fillLease[V]{a, l})
	v, took, err := loaded(within(ctx, s, a.decide), s, a.load)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return a.giveUp(ctx, l.node, v, err, tick)
	}
	before := tick()
	if !a.keep(ctx, l, v, err != nil, took) {
		return judged(v, err, began)
	}
	// The lease was valid when the value was stored, so nothing was deleted
	// since the lease was granted.
	return judged(v, err, before)
}

// keep stores the loaded value if it can be encoded and its lease is valid.
func (a *attempt[V]) keep(ctx context.Context, l lease[V], v V, negative bool, took time.Duration) bool {
	e := entryWrite{key: a.key, req: a.late.over(a.req), negative: negative, took: took, lease: a.nonce}
	if !negative {
		var err error
		if e.data, err = a.s.encode(v); err != nil {
			a.s.notEncoded(a.key, err)
			a.abandon(ctx, l.node)
			return false
		}
	}
	stored := a.fill(ctx, l, e)
	if !stored {
		a.s.count.refused.Add(1)
	}
	return stored
}

// notEncoded counts and logs a loaded value that cannot be stored. Its callers
// still get the value, but every call loads it again.
func (s *Cache[V]) notEncoded(key string, err error) {
	if errors.Is(err, ErrTooLarge) {
		s.count.tooLarge.Add(1)
		return
	}
	s.count.unencodable.Add(1)
	s.c.Say(slog.LevelError, "a loaded value is not cached, because it cannot be encoded", "key", key, "error", err)
}

// fill stores the loaded value if the lease is still valid. It refuses a node
// that was unreachable since the lease was granted, even while the entry waited
// to be sent: the node may have missed a deletion.
func (a *attempt[V]) fill(ctx context.Context, l lease[V], e entryWrite) bool {
	n := l.node
	if l.outlived() {
		a.abandon(ctx, n)
		return false
	}
	cmd := a.s.storing(n, l.run, e)
	reply, err := n.run(ctx, cmd.script, cmd.keys, cmd.args, cmd.size)
	switch {
	case err != nil:
		a.abandon(ctx, n) // other callers need not wait for the lease, and an entry that arrives later is not stored
		return false
	case l.outlived():
		p := newMultiWrite("delete", a.key)
		p.drop(n, a.s.dropping(a.key), a.s.pendingUntil(a.s.standsIn(n, a.key)))
		a.s.settle(ctx, p, func() bool { return true }) // unconfirmed commands stay pending
		return false
	}
	return reply == any(int64(1))
}

// outlived reports whether the node has been restarted or unreachable since it
// was asked.
func (l *lease[V]) outlived() bool {
	run, after := l.node.limits()
	return run != l.run || after != l.after
}

// giveUp ends the lease of a failed load. It returns an old entry if one may be
// served instead.
func (a *attempt[V]) giveUp(ctx context.Context, n *node, v V, err error, tick func() moment) result[V] {
	before := tick()
	h := a.abandon(ctx, n)
	if !h.found || h.expired && h.entry.age(n.now()) >= h.entry.hard+a.s.cfg.StaleFor {
		return judged(v, err, never)
	}
	if h.expired {
		a.s.count.stale.Add(1)
	}
	if h.entry.negative {
		return judged(v, ErrNotFound, before)
	}
	return judged(h.value, nil, before)
}

func (a *attempt[V]) abandon(ctx context.Context, n *node) (h held[V]) {
	run, after := n.limits()
	reply, err := n.run(ctx, abandonScript, a.s.names(a.key), []any{a.nonce, after, run, a.s.tagPrefix()}, 0)
	if text, found, err := n.text(reply, err); err == nil && found {
		a.s.decode(n.sight(), text, &h)
	}
	return h
}

// judged returns the result as of a moment. A failed load cannot be outdated.
func judged[V any](v V, err error, at moment) result[V] {
	if err != nil && !errors.Is(err, ErrNotFound) {
		at = never
	}
	return result[V]{v, err, at}
}
