//go:build unix

package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

const migrateScope = `package main

import (
	"context"
	"errors"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis/rueidislock"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/mutex"
)

type either struct {
	*redislock.Client
	rueidislock.Locker
}

var (
	ctx     context.Context
	locker  *lock.Locker
	c       *cluster.Cluster
	rs      *redsync.Redsync
	old     either
	client  redis.UniversalClient
	errBusy = errors.New("busy")

	underOldLock func(context.Context, string, func(context.Context) error) error
	ship, send   func(context.Context) error
	_            = mutex.Redsync
	_            = time.Second
)

func main() {}
`

func TestMigrate_CodeCompiles(t *testing.T) {
	harness.CodeCompiles(t, "../docs/migrate.md", migrateScope)
}

// docs/migrate.md says which locks exclude those of redlock. Each of these is
// taken while redlock has the key, and before.
func TestMigrate_WhatExcludesWhat(t *testing.T) {
	const prefix, key = "lock:", "order:42"
	for name, tt := range map[string]struct {
		nodes    int
		excludes bool
		take     func(ctx context.Context, clients []*redis.Client) (release func() error, err error)
	}{
		"redsync on the same nodes": {3, true, takeRedsync}, "redislock on one of three": {3, false, takeRedislock}, "SET NX on one of three": {3, false, takeSetNX},
		"redislock on the only node": {1, true, takeRedislock}, "SET NX on the only node": {1, true, takeSetNX},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := harness.Embedded(t, tt.nodes)
			var clients []*redis.Client
			for i := range tt.nodes {
				clients = append(clients, harness.Client(t, nodes, i))
			}
			began := time.Now()
			c, err := cluster.Open(t.Context(), cluster.Config{URLs: nodes.URLs(), NodeTimeout: 5 * time.Second})
			harness.Must(t, began, err)
			harness.CloseAtEnd(t, c)
			locker, err := lock.New(c, lock.Config{Prefix: prefix, TTL: 30 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			harness.CloseAtEnd(t, locker)

			release, err := tt.take(t.Context(), clients)
			if err != nil {
				t.Fatal(err)
			}
			l, err := locker.TryLock(t.Context(), key)
			if got := errors.Is(err, lock.ErrNotAcquired); got != tt.excludes {
				t.Errorf("redlock is excluded: %t (%v), want %t", got, err, tt.excludes)
			}
			if err := release(); err != nil {
				t.Fatal(err)
			}
			if l == nil {
				if l, err = locker.Lock(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
			_, err = tt.take(t.Context(), clients)
			if tt.excludes && !errors.Is(err, errTaken) {
				t.Errorf("beside redlock it is taken: %v", err)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

var errTaken = errors.New("taken")

func takeRedsync(ctx context.Context, clients []*redis.Client) (func() error, error) {
	var pools []redsyncredis.Pool
	for _, c := range clients {
		pools = append(pools, goredis.NewPool(c))
	}
	m := redsync.New(pools...).NewMutex("lock:order:42", redsync.WithTries(1))
	var taken *redsync.ErrTaken
	if err := m.LockContext(ctx); errors.As(err, &taken) {
		return nil, errTaken
	} else if err != nil {
		return nil, err
	}
	return func() error { _, err := m.UnlockContext(ctx); return err }, nil
}

func takeRedislock(ctx context.Context, clients []*redis.Client) (func() error, error) {
	l, err := redislock.Obtain(ctx, clients[0], "lock:order:42", 30*time.Second, nil)
	if errors.Is(err, redislock.ErrNotObtained) {
		return nil, errTaken
	}
	return func() error { return l.Release(ctx) }, err
}

func takeSetNX(ctx context.Context, clients []*redis.Client) (func() error, error) {
	ok, err := clients[0].SetNX(ctx, "lock:order:42", "1", 30*time.Second).Result()
	if err == nil && !ok {
		err = errTaken
	}
	return func() error { return clients[0].Del(ctx, "lock:order:42").Err() }, err
}
