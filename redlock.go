// Package redlock opens a set of independent Redis or Valkey nodes for
// distributed locks:
//
//	locker, err := redlock.Open(ctx, "redis://10.0.0.1:6379", "redis://10.0.0.2:6379", "redis://10.0.0.3:6379")
//	if err != nil {
//		return err
//	}
//	defer locker.Close(ctx)
//	return locker.WithLock(ctx, "order:42", func(ctx context.Context) error { … })
//
// Package [lock] says what is promised. Programs that configure the nodes or
// the locks open a cluster.Cluster and call [lock.New]; packages lease,
// session, cache and mutex work on the same Cluster. Package embedded has nodes
// for tests.
package redlock

import (
	"context"

	"github.com/venta-hq/redlock/lock"
)

// Open opens the set of nodes at urls and makes a Locker on it, both with their
// defaults. The forms of the URLs and the errors are those of cluster.Open. The
// caller must Close the Locker, which also closes the set.
func Open(ctx context.Context, urls ...string) (*lock.Locker, error) { return lock.Open(ctx, urls...) }
