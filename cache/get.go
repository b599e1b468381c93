package cache

import (
	"cmp"
	"context"
	"errors"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// Get returns the value of key; ok is false if there is none that may be
// served. The error is [ErrNotFound] if it is known that no value exists, and
// otherwise says why the nodes could not be asked.
func (s *Cache[V]) Get(ctx context.Context, key string) (v V, ok bool, err error) {
	if err := s.check(ctx, key); err != nil {
		return v, false, err
	}
	if v, ok, err := s.getNear(key); ok || err != nil {
		return v, ok, err
	}
	h, err := s.read(ctx, key)
	if err != nil {
		return v, false, errs.Errorf("redlock: get %q: %w", key, err)
	}
	if !h.served() {
		s.count.misses.Add(1)
		return v, false, nil
	}
	return h.take(&s.count)
}

// getNear returns the value of key in the local tier.
func (s *Cache[V]) getNear(key string) (v V, ok bool, err error) {
	kept, negative, ok := s.near.get(key)
	switch {
	case !ok:
		return v, false, nil
	case negative:
		s.count.negative.Add(1)
		s.count.nearHits.Add(1)
		return v, false, ErrNotFound
	}
	s.count.nearHits.Add(1)
	v, _ = kept.(V) // kept is no V only if V is an interface and the value is nil
	return v, true, nil
}

// keepNear keeps the answer of a key's owner in the local tier.
func (s *Cache[V]) keepNear(key string, t ticket, h *held[V]) {
	owner, _ := s.place.of(key)
	if s.near == nil || !h.served() || h.node != s.nodes[owner] {
		return
	}
	left := h.entry.hard
	if h.entry.soft > 0 {
		left = h.entry.soft
	}
	s.near.put(key, owner, t, h.value, &h.entry, left-h.entry.age(h.node.now()))
}

// held is the result of a read of one key.
type held[V any] struct {
	node    *node
	entry   entry
	found   bool // an entry exists that may be served, at least if a load fails
	expired bool // it may be served only if a load fails
	value   V
}

func (h *held[V]) served() bool { return h.found && !h.expired }

// take counts a hit and returns it.
func (h *held[V]) take(c *counters) (v V, ok bool, err error) {
	c.hits.Add(1)
	if h.entry.negative {
		c.negative.Add(1)
		return v, false, ErrNotFound
	}
	return h.value, true, nil
}

// read asks the owner for an entry, and the stand-in if the owner fails.
func (s *Cache[V]) read(ctx context.Context, key string) (h held[V], err error) {
	for range 2 {
		n, _ := s.route(key)
		if n == nil {
			break
		}
		var text string
		var found bool
		t := s.near.begin(key, n.Index())
		text, found, err = s.readAt(ctx, n, key)
		switch {
		case err == nil && found:
			s.decode(n.sight(), text, &h)
			s.keepNear(key, t, &h)
			return h, nil
		case err == nil:
			return held[V]{node: n}, nil
		case n.Up() || ctx.Err() != nil:
			return h, err
		}
	}
	return h, unreached(err)
}

// unreached returns the error of a read for which no node is left to ask. err
// is the error of the last node asked, or nil.
func unreached(err error) error {
	if err == nil || errors.Is(err, cluster.ErrNodeDown) {
		return cmp.Or(err, cluster.ErrNodeDown)
	}
	return errs.Errorf("%w: %w", cluster.ErrNodeDown, err)
}

// readAt reads an entry with one command: a plain GET, or, if tags are in use,
// a script that also checks them. The first entry with tags is read twice.
func (s *Cache[V]) readAt(ctx context.Context, n *node, key string) (text string, found bool, err error) {
	if !s.tagged.Load() {
		text, found, err = n.get(ctx, s.entryName(key))
		if e, ok := parseEntry(text); !ok || !e.tagged {
			return text, found, err
		}
		s.tagged.Store(true)
	}
	run, after := n.limits()
	reply, err := n.run(ctx, readScript, []string{s.entryName(key)}, []any{after, run, s.tagPrefix()}, 0)
	if list, ok := reply.([]any); ok && len(list) == 1 {
		return n.text(list[0], err)
	} else if err == nil {
		err = unexpected(reply)
	}
	return "", false, err
}

// decode decodes an entry from a node into h, which must be empty. It leaves h
// empty if the entry cannot be decoded, or was stored before the node was
// restarted or unreachable.
func (s *Cache[V]) decode(at sight, text string, h *held[V]) {
	h.node = at.node
	e, ok := parseEntry(text)
	if !ok {
		s.count.undecodable.Add(1)
		return
	}
	h.entry = e
	if e.stamp <= at.after || at.run != "-" && e.run != at.run {
		return
	}
	if !e.negative {
		if err := catchPanic(func() error { return s.cfg.Codec.Decode(owned(e.data), &h.value) }); err != nil {
			s.count.undecodable.Add(1)
			return
		}
	}
	h.found, h.expired = true, e.expired(at.now)
}
