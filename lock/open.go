package lock

import (
	"context"

	"github.com/venta-hq/redlock/cluster"
)

// Open opens the set of nodes at urls and makes a Locker on it, both with their
// defaults. [Locker.Close] closes the set too. The forms of the URLs and the
// errors are those of [cluster.Open].
func Open(ctx context.Context, urls ...string) (*Locker, error) {
	c, err := cluster.Open(ctx, cluster.Config{URLs: urls})
	if err != nil {
		return nil, err
	}
	k, err := New(c, Config{})
	if err != nil {
		c.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	k.owned = c
	return k, nil
}
