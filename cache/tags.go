package cache

import (
	"context"
	"errors"

	"github.com/venta-hq/redlock/internal/configerr"
)

// request combines the options of a call.
func (s *Cache[V]) request(opts []Option) (request, error) {
	r, err := s.cfg.request(opts)
	if len(r.tags) > 0 {
		err = errors.Join(err, s.canTag())
	}
	return r, err
}

// canTag returns an error if tags cannot be used.
func (s *Cache[V]) canTag() error {
	for _, n := range s.nodes {
		if n.Sharded() {
			return configerr.Field("Tags", "node %s is a Redis Cluster, whose scripts cannot read an entry and its tags together; use single servers", n.Name())
		}
	}
	s.tagged.Store(true)
	return nil
}

// DeleteTag deletes every entry that was stored with the tag, and ends the
// loads in progress with it, in one round trip to each node, whatever their
// number. This is possible because an entry is valid only while its tags have
// the versions on its node that they had when its load began; DeleteTag removes
// the versions. It returns nil unless two or more nodes did not confirm it,
// because these may be the owner and the stand-in of a key. The error is an
// [*UnreachedError].
func (s *Cache[V]) DeleteTag(ctx context.Context, tag string) error {
	if s == nil {
		return errNil
	}
	if err := errors.Join(checkName("Tags", tag), s.canTag(), s.check(ctx, "-")); err != nil {
		return err
	}
	defer s.near.dropTagged()
	p := newMultiWrite("delete tag", tag)
	cmd := command{script: untagScript, args: []any{s.drops(), s.cfg.longestLease().Milliseconds()}}
	for _, n := range s.nodes {
		cmd.keys = []string{s.tagPrefix() + tag, s.deletionPrefix() + tag, s.deletions(n)}
		p.drop(n, cmd, s.pendingUntil(false))
	}
	return s.settle(ctx, p, func() bool { return len(p.failed) < min(2, len(s.nodes)) })
}
