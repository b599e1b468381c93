//go:build unix

package main

import (
	"context"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
)

// locker is one library, opened on the nodes. It stays open until the process
// ends.
type locker interface {
	// under runs fn while key is held, with what the library says of the hold:
	// its fencing token and its slot, if it has them. It returns after the
	// unlock.
	under(ctx context.Context, key string, fn func(h turn.Hold)) error
}

// reader is a library with readers that hold a key beside each other.
type reader interface {
	read(ctx context.Context, key string, fn func(h turn.Hold)) error
}

// openers open the libraries, by name.
var openers = map[string]func(o turn.Open) (locker, error){
	turn.Redlock:     openOurs,
	turn.Several:     openSeveral,
	turn.Redsync:     func(o turn.Open) (locker, error) { return openRedsync(o, false) },
	turn.RedsyncFast: func(o turn.Open) (locker, error) { return openRedsync(o, true) },
	turn.Rueidislock: openRueidislock,
	turn.Redislock:   openRedislock,
	turn.Sharing:     openSharing,
	turn.Limited:     openLimited,
	turn.Semaphore:   openSemaphore,
	turn.Retaining:   openRetaining,
	turn.RoundTrip:   openRoundTrip,
}

type redsyncLocker struct {
	rs   *redsync.Redsync
	opts []redsync.Option
}

func openRedsync(o turn.Open, fast bool) (locker, error) {
	l := &redsyncLocker{opts: []redsync.Option{
		redsync.WithExpiry(o.TTL), redsync.WithTries(1 << 30), redsync.WithFailFast(fast),
	}}
	var pools []redsyncredis.Pool
	for _, u := range o.URLs {
		client, err := pooled(u)
		if err != nil {
			return nil, err
		}
		pools = append(pools, goredis.NewPool(client))
	}
	l.rs = redsync.New(pools...)
	return l, nil
}

// poolSize is larger than what the machine can use at once.
const poolSize = 256

// pooled returns a client of go-redis with its defaults, except for the pool.
func pooled(u string) (*redis.Client, error) {
	o, err := redis.ParseURL(u)
	if err != nil {
		return nil, err
	}
	o.PoolSize, o.PoolTimeout = poolSize, time.Minute
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o), nil
}

func (l *redsyncLocker) under(ctx context.Context, key string, fn func(turn.Hold)) error {
	m := l.rs.NewMutex(key, l.opts...)
	if err := m.LockContext(ctx); err != nil {
		return err
	}
	fn(turn.Hold{})
	_, err := m.UnlockContext(ctx)
	return err
}

type rueidisLocker struct{ locker rueidislock.Locker }

func openRueidislock(o turn.Open) (locker, error) {
	option, err := rueidis.ParseURL(o.URLs[0])
	if err != nil {
		return nil, err
	}
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption: option, KeyMajority: turn.RueidisMajority, KeyValidity: o.TTL, NoLoopTracking: true,
	})
	if err != nil {
		return nil, err
	}
	return &rueidisLocker{l}, nil
}

func (l *rueidisLocker) under(ctx context.Context, key string, fn func(turn.Hold)) error {
	_, unlock, err := l.locker.WithContext(ctx, key)
	if err != nil {
		return err
	}
	fn(turn.Hold{})
	unlock()
	return nil
}

type redislockLocker struct {
	locker *redislock.Client
	ttl    time.Duration
}

func openRedislock(o turn.Open) (locker, error) {
	client, err := pooled(o.URLs[0])
	if err != nil {
		return nil, err
	}
	return &redislockLocker{redislock.New(client), o.TTL}, nil
}

func (l *redislockLocker) under(ctx context.Context, key string, fn func(turn.Hold)) error {
	held, err := l.locker.Obtain(ctx, key, l.ttl, &redislock.Options{RetryStrategy: redislock.LinearBackoff(5 * time.Millisecond)})
	if err != nil {
		return err
	}
	fn(turn.Hold{})
	return held.Release(ctx)
}
