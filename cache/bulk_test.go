package cache_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/session"
)

// The number of keys in one command decides how long a node serves nothing
// else, on any machine.
func TestCache_BatchesAreCutIntoPieces(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{})
		keys := keysUpTo(2000)
		before := s.Commands(0)
		if err := c.DeleteMany(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
		after := s.Commands(0) // each node gets every key, as its owner or stand-in
		if scripts := after["evalsha"] - before["evalsha"]; scripts < 2000/128 {
			t.Errorf("%d scripts dropped 2000 keys", scripts)
		}
		if _, err := c.GetMany(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
		if reads := s.Commands(0)["mget"] - after["mget"]; reads < 4 {
			t.Errorf("%d commands read some 1000 keys", reads)
		}
	})
}

// leaving is a context that ends as soon as a caller waits for its end.
type leaving struct {
	context.Context
	cancel func()
}

func (l leaving) Done() <-chan struct{} {
	l.cancel()
	return l.Context.Done()
}

func TestCache_DeleteMany_FinishesAfterItsCallerLeft(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{})
		keys := keysUpTo(1000)
		must(t, c.Set(t.Context(), keys[999], "old"))
		ctx, cancel := context.WithCancel(t.Context())
		s.Pause(0)
		s.Pause(1)
		if err := c.DeleteMany(leaving{ctx, cancel}, keys...); !errors.Is(err, context.Canceled) {
			t.Error("the caller that left got", err)
		}
		s.Resume(0)
		s.Resume(1)
		harness.Eventually(t, "the last is deleted", func() bool {
			_, ok, err := c.Get(t.Context(), keys[999])
			return !ok && err == nil
		})
	})
}

// bulk holds the amounts of work of TestCache_BulkWorkCostsNoLock.
type bulk struct{ deleted, fetched, blobs, logouts int }

// bulkOf reads the value of REDLOCK_TEST_BULK.
func bulkOf(t *testing.T) bulk {
	switch size := os.Getenv("REDLOCK_TEST_BULK"); size {
	case "":
		return bulk{deleted: 20_000, fetched: 2_000, blobs: 1, logouts: 500}
	case "full":
		return bulk{deleted: 100_000, fetched: 30_000, blobs: 3, logouts: 10_000}
	default:
		t.Fatalf("REDLOCK_TEST_BULK is %q; must be full or empty", size)
		panic("unreachable")
	}
}

// A lock stays held while many keys and bytes are moved on the same Cluster.
// REDLOCK_TEST_BULK=full moves an amount that once took nodes down.
func TestCache_BulkWorkCostsNoLock(t *testing.T) {
	size := bulkOf(t)
	s := harness.Real(t, 3, redisserver.Options{})
	cl := openWith(t, s, 0) // the default
	locker, err := lock.New(cl, lock.Config{TTL: 2 * time.Second})
	must(t, err)
	harness.CloseAtEnd(t, locker)
	numbers := newOn(t, cl, cache.Config[string]{Prefix: "numbers:"})
	blobs := newOn(t, cl, cache.Config[[]byte]{Prefix: "blobs:", MaxValue: 60 << 20})
	sessions, err := session.New(cl, session.Config{})
	must(t, err)
	held, err := locker.TryLock(t.Context(), "held")
	must(t, err)
	many := keysUpTo(size.deleted)
	blob := []byte(strings.Repeat("x", 40<<20))
	ids := make([]string, size.logouts)
	down := watchNodes(t, cl)
	for _, work := range []struct {
		name string
		do   func(context.Context) error
	}{
		{fmt.Sprint(size.logouts, " sessions"), func(ctx context.Context) error {
			return beside(size.logouts, 256, func(i int) error { // in parts: only the log-outs come all at once
				made, err := sessions.Create(ctx, fmt.Sprint("user ", i), nil)
				if err == nil {
					ids[i] = made.ID()
				}
				return err
			})
		}},
		{fmt.Sprint(size.deleted, " deletions"), func(ctx context.Context) error { return numbers.DeleteMany(ctx, many...) }},
		{fmt.Sprint(size.fetched, " fetches"), func(ctx context.Context) error {
			_, err := numbers.FetchMany(ctx, many[:size.fetched], func(_ context.Context, keys []string) (map[string]string, error) {
				found := make(map[string]string, len(keys))
				for _, key := range keys {
					found[key] = key
				}
				return found, nil
			})
			return err
		}},
		{fmt.Sprint(size.blobs, " values of 40 MiB"), func(ctx context.Context) error {
			for i := range size.blobs {
				key := fmt.Sprint("blob ", i)
				err := blobs.Set(ctx, key, blob) // may fail on a slow machine; the lock must not
				_, ok, missed := blobs.Get(ctx, key)
				t.Log("a blob:", err, ok, missed)
			}
			keys := keysUpTo(size.blobs)
			for i := range keys {
				keys[i] = fmt.Sprint("blob ", i)
			}
			found, err := blobs.GetMany(ctx, keys...)
			t.Log("all blobs:", len(found), err)
			return nil
		}},
		{fmt.Sprint(size.logouts, " logouts"), func(ctx context.Context) error {
			return beside(size.logouts, size.logouts, func(i int) error {
				return sessions.LogoutAll(ctx, fmt.Sprint("user ", i), nil)
			})
		}},
		{"to look for them", func(ctx context.Context) error {
			return beside(size.logouts, 256, func(i int) error {
				_, err := sessions.Load(ctx, ids[i])
				if err == nil {
					t.Errorf("user %d was logged out, but still has a session", i)
				} else if !errors.Is(err, session.ErrSessionGone) {
					return fmt.Errorf("a session of user %d: %w", i, err)
				}
				return nil
			})
		}},
	} {
		began := time.Now()
		err := work.do(t.Context())
		t.Log(work.name, "took", time.Since(began), "; times a node was down:", down())
		if held.Err() != nil {
			harness.Missed(t, began, "after %s: %v", work.name, held.Err())
		}
		if err != nil {
			harness.Missed(t, began, "%s: %v", work.name, err)
		}
	}
	must(t, held.Release(t.Context()))
}

// beside calls do for each number below n, atOnce at a time, and returns one of
// the errors.
func beside(n, atOnce int, do func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	room := make(chan struct{}, atOnce)
	for i := range n {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			errs[i] = do(i)
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// watchNodes counts how often a node went down.
func watchNodes(t *testing.T, cl *cluster.Cluster) func() int {
	var seen atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		was := make([]bool, len(face.In(cl).Nodes()))
		for range time.Tick(5 * time.Millisecond) {
			for i, n := range face.In(cl).Nodes() {
				if up := n.Up(); !up && !was[i] {
					seen.Add(1)
				}
				was[i] = !n.Up()
			}
			if t.Context().Err() != nil {
				return
			}
		}
	})
	t.Cleanup(wg.Wait)
	return func() int { return int(seen.Load()) }
}
