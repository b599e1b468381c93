package cache

import (
	"context"
	"errors"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// attempt is one attempt to load a key under a lease.
type attempt[V any] struct {
	s       *Cache[V]
	key     string
	load    Loader[V]
	req     request
	nonce   string
	seen    int64  // stamp of the newest entry that is not good enough
	process string // to be woken when another's lease ends; "": nobody
}

// lease is a node's answer: what it has, or who may load.
type lease[V any] struct {
	node  *node
	run   string // limits of the node's life when it was asked
	after int64
	held  held[V]
	given bool
	left  time.Duration // of another's lease; 0: ask again at once
}

// ask asks the key's node for an entry or the lease.
func (a *attempt[V]) ask(ctx context.Context) (l lease[V], err error) {
	s := a.s
	n, _ := s.route(a.key)
	if n == nil {
		return l, cluster.ErrNodeDown
	}
	l.node = n
	l.run, l.after = n.limits()
	args := []any{a.nonce, s.cfg.LeaseTTL.Milliseconds(), max(a.seen, l.after), l.run, a.process, s.tagPrefix(), s.cfg.lifetime().Milliseconds()}
	reply, err := n.run(ctx, leaseScript, s.names(a.key), appendTags(args, a.req.tags), 0)
	if err != nil {
		return l, err
	}
	words, _ := reply.([]any)
	switch {
	case len(words) == 1:
		l.given = words[0] == any(int64(1))
	case len(words) == 2 && words[0] == any(int64(2)):
		text, _ := words[1].(string)
		l.held = s.decode(n, text)
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

// run loads under a lease, and stores what comes of it where the lease is. tick is the flight's.
func (a *attempt[V]) run(ctx context.Context, l lease[V], tick func() moment) result[V] {
	s := a.s
	began := tick()
	v, took, err := loaded(ctx, s, a.load)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return a.giveUp(ctx, l.node, v, err, tick)
	}
	before := tick()
	if !a.keep(ctx, l, v, err != nil, took) {
		return judged(v, err, began)
	}
	// The lease stood when it was stored, so nothing was deleted since it was given.
	return judged(v, err, before)
}

// keep stores what was loaded, if it can be stored and its lease stands.
func (a *attempt[V]) keep(ctx context.Context, l lease[V], v V, negative bool, took time.Duration) bool {
	kind, data := "n", []byte(nil)
	if !negative {
		var err error
		kind = "v"
		if data, err = a.s.encode(v); err != nil {
			if errors.Is(err, ErrTooLarge) {
				a.s.count.tooLarge.Add(1)
			}
			a.abandon(ctx, l.node)
			return false
		}
	}
	stored := a.fill(ctx, l, kind, data, took)
	if !stored {
		a.s.count.refused.Add(1)
	}
	return stored
}

// fill stores what was loaded if the lease stands. A node that was out of reach meanwhile may have missed a deletion.
func (a *attempt[V]) fill(ctx context.Context, l lease[V], kind string, data []byte, took time.Duration) bool {
	n := l.node
	if run, after := n.limits(); run != l.run || after != l.after {
		return false
	}
	owner, _ := a.s.place.of(a.key)
	cmd := a.s.storing(a.key, l.run, a.req, n != a.s.nodes[owner], kind, data, took, a.nonce, true)
	reply, err := n.run(ctx, cmd.script, cmd.keys, cmd.args, cmd.size)
	return err == nil && reply == any(int64(1))
}

// giveUp lets the lease of a failed load go, and takes what there still is if it may be served for lack of better.
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
		h = a.s.decode(n, text)
	}
	return h
}

// judged is a result as of a moment. That a load failed can not be out of date.
func judged[V any](v V, err error, at moment) result[V] {
	if err != nil && !errors.Is(err, ErrNotFound) {
		at = never
	}
	return result[V]{v, err, at}
}
