package cache

import (
	"context"
	"errors"
	"fmt"

	"github.com/venta-hq/redlock/internal/errs"
)

// Set stores v under key, replaces an existing value, and ends a load that is
// in progress for key. It returns nil once the node that is asked for the key
// has stored the value. The error is [ErrTooLarge] or the codec's, and the old
// value stays; or it is an [*UnreachedError].
func (s *Cache[V]) Set(ctx context.Context, key string, v V, opts ...Option) error {
	if s == nil {
		return errNil
	}
	req, err := s.request(opts)
	if err := errors.Join(err, s.check(ctx, key)); err != nil {
		return err
	}
	defer s.near.drop(key)
	data, err := s.encode(v)
	if err != nil {
		return errs.Errorf("redlock: set %q: %w", key, err)
	}
	owner, second := s.place.of(key)
	taker, other := owner, second
	if !s.nodes[owner].Up() && second >= 0 {
		taker, other = second, owner
	}
	run, _ := s.nodes[taker].limits()
	p := newMultiWrite("set", key)
	p.store(s.nodes[taker], s.storing(s.nodes[taker], run, entryWrite{key: key, req: req, data: data}), s.dropping(key))
	if other >= 0 {
		p.drop(s.nodes[other], s.dropping(key), s.pendingUntil(other == second))
	}
	return s.settle(ctx, p, func() bool { return p.took(s.nodes[taker]) })
}

func (s *Cache[V]) encode(v V) (data []byte, err error) {
	err = catchPanic(func() (err error) { data, err = s.cfg.Codec.Encode(v); return err })
	if err == nil && len(data) > s.cfg.MaxValue {
		err = fmt.Errorf("%w: %d bytes; at most %d, Config.MaxValue", ErrTooLarge, len(data), s.cfg.MaxValue)
	}
	return data, err
}
