//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

// locker is one library, opened on the nodes.
type locker interface {
	// under runs fn while key is held, with the fencing token or 0 where there is none. It returns after the unlock.
	under(ctx context.Context, key string, fn func(token int64)) error
	// keys are the Redis keys that hold the lock: one for each of the nodes the library uses, or several on one.
	keys(key string) []string
	close()
}

const (
	ttl      = 10 * time.Second
	poolSize = 256 // of the libraries that use pooled connections; the pool of each is more than the machine can use at once
)

// The names of the libraries.
const (
	ours     = "redlock"
	syncing  = "redsync"
	failFast = "redsync fail-fast"
	rueidi   = "rueidislock"
	bsm      = "redislock"
	raw      = "ceiling"
)

// openers make the libraries' lockers, by name, on the nodes at urls.
var openers = map[string]func(urls []string, ttl time.Duration) (locker, error){
	ours:     openOurs,
	syncing:  func(urls []string, ttl time.Duration) (locker, error) { return openRedsync(urls, ttl, false) },
	failFast: func(urls []string, ttl time.Duration) (locker, error) { return openRedsync(urls, ttl, true) },
	rueidi:   openRueidislock,
	bsm:      openRedislock,
}

type ourLocker struct {
	c      *cluster.Cluster
	locker *lock.Locker
}

func openOurs(urls []string, ttl time.Duration) (locker, error) {
	c, err := cluster.Open(context.Background(), cluster.Config{URLs: urls, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	l, err := lock.New(c, lock.Config{TTL: ttl})
	if err != nil {
		return nil, errors.Join(err, c.Close(context.Background()))
	}
	return &ourLocker{c, l}, nil
}

func (o *ourLocker) under(ctx context.Context, key string, fn func(int64)) error {
	return o.locker.WithLock(ctx, key, func(ctx context.Context) error {
		token, _ := lock.Token(ctx)
		fn(token)
		return nil
	})
}

func (o *ourLocker) keys(key string) []string { return []string{"lock:" + key} }

func (o *ourLocker) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	_ = o.locker.Close(ctx)
	_ = o.c.Close(ctx)
}

// closing bounds how long the end of a library is waited for, where a node is frozen.
const closing = 5 * time.Second

type redsyncLocker struct {
	clients []*redis.Client
	rs      *redsync.Redsync
	opts    []redsync.Option
}

func openRedsync(urls []string, ttl time.Duration, fast bool) (locker, error) {
	l := &redsyncLocker{opts: []redsync.Option{
		redsync.WithExpiry(ttl), redsync.WithTries(1 << 30), redsync.WithFailFast(fast),
	}}
	var pools []redsyncredis.Pool
	for _, u := range urls {
		client, err := pooled(u)
		if err != nil {
			return nil, err
		}
		l.clients = append(l.clients, client)
		pools = append(pools, goredis.NewPool(client))
	}
	l.rs = redsync.New(pools...)
	return l, nil
}

// pooled is a client of go-redis with its defaults, but for a pool that is large enough.
func pooled(u string) (*redis.Client, error) {
	o, err := redis.ParseURL(u)
	if err != nil {
		return nil, err
	}
	o.PoolSize, o.PoolTimeout = poolSize, time.Minute
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o), nil
}

func (l *redsyncLocker) under(ctx context.Context, key string, fn func(int64)) error {
	m := l.rs.NewMutex(key, l.opts...)
	if err := m.LockContext(ctx); err != nil {
		return err
	}
	fn(0)
	_, err := m.UnlockContext(ctx)
	return err
}

func (l *redsyncLocker) keys(key string) []string { return []string{key} }

func (l *redsyncLocker) close() {
	for _, c := range l.clients {
		_ = c.Close()
	}
}

type rueidisLocker struct{ locker rueidislock.Locker }

// rueidisMajority makes it five keys.
const rueidisMajority = 3

func openRueidislock(urls []string, ttl time.Duration) (locker, error) {
	o, err := rueidis.ParseURL(urls[0])
	if err != nil {
		return nil, err
	}
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption: o, KeyMajority: rueidisMajority, KeyValidity: ttl, NoLoopTracking: true,
	})
	if err != nil {
		return nil, err
	}
	return &rueidisLocker{l}, nil
}

func (l *rueidisLocker) under(ctx context.Context, key string, fn func(int64)) error {
	_, unlock, err := l.locker.WithContext(ctx, key)
	if err != nil {
		return err
	}
	fn(0)
	unlock()
	return nil
}

func (l *rueidisLocker) keys(key string) []string {
	var keys []string
	for i := range 2*rueidisMajority - 1 {
		keys = append(keys, fmt.Sprintf("rueidislock:%d:%s", i, key))
	}
	return keys
}

func (l *rueidisLocker) close() { l.locker.Close() }

type redislockLocker struct {
	client *redis.Client
	locker *redislock.Client
	ttl    time.Duration
}

func openRedislock(urls []string, ttl time.Duration) (locker, error) {
	client, err := pooled(urls[0])
	if err != nil {
		return nil, err
	}
	return &redislockLocker{client, redislock.New(client), ttl}, nil
}

func (l *redislockLocker) under(ctx context.Context, key string, fn func(int64)) error {
	held, err := l.locker.Obtain(ctx, key, l.ttl, &redislock.Options{RetryStrategy: redislock.LinearBackoff(5 * time.Millisecond)})
	if err != nil {
		return err
	}
	fn(0)
	return held.Release(ctx)
}

func (l *redislockLocker) keys(key string) []string { return []string{key} }

func (l *redislockLocker) close() { _ = l.client.Close() }
