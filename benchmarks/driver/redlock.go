//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

type ourLocker struct{ locker *lock.Locker }

func openOurs(o turn.Open) (locker, error) { return openWith(o, 0) }

// openWith opens this module with [lock.Config.Retain].
func openWith(o turn.Open, retain time.Duration) (*ourLocker, error) {
	c, err := cluster.Open(context.Background(), cluster.Config{
		URLs: o.URLs, NodeTimeout: o.NodeTimeout, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	l, err := lock.New(c, lock.Config{TTL: o.TTL, RenewEvery: o.RenewEvery, Retain: retain})
	if err != nil {
		return nil, err
	}
	return &ourLocker{l}, nil
}

func (o *ourLocker) under(ctx context.Context, key string, fn func(turn.Hold)) error {
	return o.locker.WithLock(ctx, key, func(ctx context.Context) error {
		token, _ := lock.Token(ctx)
		fn(turn.Hold{Token: token})
		return nil
	})
}

// several locks eight keys for each key.
type several struct{ locker *lock.Locker }

func openSeveral(o turn.Open) (locker, error) {
	l, err := openWith(o, 0)
	if err != nil {
		return nil, err
	}
	return several(*l), nil
}

func (s several) under(ctx context.Context, key string, fn func(turn.Hold)) error {
	keys := make([]string, 8)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s:%d", key, i)
	}
	return s.locker.WithLocks(ctx, keys, func(ctx context.Context) error {
		token, _ := lock.TokenOf(ctx, keys[0])
		fn(turn.Hold{Token: token})
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
