//go:build unix

package main

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/semaphore"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
	"github.com/venta-hq/redlock/lock"
)

// sharing has readers beside writers.
type sharing struct{ *ourLocker }

func openSharing(o turn.Open) (locker, error) {
	l, err := openWith(o, 0)
	return sharing{l}, err
}

func (s sharing) read(ctx context.Context, key string, fn func(turn.Hold)) error {
	return s.locker.WithLock(ctx, key, func(ctx context.Context) error {
		token, _ := lock.Token(ctx)
		fn(turn.Hold{Token: token, Read: true})
		return nil
	}, lock.Shared())
}

// limited has several holders of a key. It uses Locker.Lock, whose leases say
// which slot they have.
type limited struct{ *ourLocker }

func openLimited(o turn.Open) (locker, error) {
	l, err := openWith(o, 0)
	return limited{l}, err
}

func (l limited) under(ctx context.Context, key string, fn func(turn.Hold)) error {
	held, err := l.locker.Lock(ctx, key, lock.Limit(turn.Limit))
	if err != nil {
		return err
	}
	fn(turn.Hold{Token: held.Token(), Slot: held.Slot() + 1})
	return held.Release(ctx)
}

func openRetaining(o turn.Open) (locker, error) { return openWith(o, turn.Retain) }

// semaphores has one semaphore for each key.
type semaphores struct {
	mu    sync.Mutex
	byKey map[string]*semaphore.Weighted // guarded by mu
}

func openSemaphore(turn.Open) (locker, error) {
	return &semaphores{byKey: map[string]*semaphore.Weighted{}}, nil
}

func (s *semaphores) of(key string) *semaphore.Weighted {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[key] == nil {
		s.byKey[key] = semaphore.NewWeighted(turn.Limit)
	}
	return s.byKey[key]
}

func (s *semaphores) under(ctx context.Context, key string, fn func(turn.Hold)) error {
	held := s.of(key)
	if err := held.Acquire(ctx, 1); err != nil {
		return err
	}
	fn(turn.Hold{})
	held.Release(1)
	return nil
}

// roundTrip asks all nodes for nothing, and waits for a quorum.
type roundTrip []*redis.Client

func openRoundTrip(o turn.Open) (locker, error) {
	var r roundTrip
	for _, u := range o.URLs {
		client, err := pooled(u)
		if err != nil {
			return nil, err
		}
		r = append(r, client)
	}
	return r, nil
}

func (r roundTrip) under(ctx context.Context, _ string, fn func(turn.Hold)) error {
	answers := make(chan error, len(r))
	for _, client := range r {
		go func() { answers <- client.Ping(ctx).Err() }()
	}
	var errs []error
	for range len(r)/2 + 1 {
		errs = append(errs, <-answers)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fn(turn.Hold{})
	return nil
}
