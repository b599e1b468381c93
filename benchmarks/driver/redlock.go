//go:build unix

package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

type ourLocker struct{ locker *lock.Locker }

func openOurs(o turn.Open) (locker, error) {
	c, err := cluster.Open(context.Background(), cluster.Config{
		URLs: o.URLs, NodeTimeout: o.NodeTimeout, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	l, err := lock.New(c, lock.Config{TTL: o.TTL, RenewEvery: o.RenewEvery})
	if err != nil {
		return nil, err
	}
	return &ourLocker{l}, nil
}

func (o *ourLocker) under(ctx context.Context, key string, fn func(int64)) error {
	return o.locker.WithLock(ctx, key, func(ctx context.Context) error {
		token, _ := lock.Token(ctx)
		fn(token)
		return nil
	})
}

func (o *ourLocker) lease(ctx context.Context, key string) (held, error) {
	l, err := o.locker.Lock(ctx, key)
	return ourLease{l}, err
}

type ourLease struct{ *lease.Lease }

// origin is what deadlines are counted from: a difference of two times with a
// monotonic clock is free of clock adjustments.
var origin = time.Now()

func (l ourLease) renewed() int64 { return int64(l.Deadline().Sub(origin)) }
