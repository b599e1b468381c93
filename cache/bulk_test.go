package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/session"
)

// How many keys one command has decides how long a node does nothing else, on any machine.
func TestABatchIsCutIntoPieces(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{})
		keys := keysUpTo(2000)
		before := s.Commands(0)
		if err := c.DeleteMany(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
		after := s.Commands(0) // each node is asked for every key: it owns it or stands in
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

// leaving is a context that ends as soon as somebody waits for its end.
type leaving struct {
	context.Context
	cancel func()
}

func (l leaving) Done() <-chan struct{} {
	l.cancel()
	return l.Context.Done()
}

func TestADeleteManyWhoseCallerLeavesIsDoneToTheEnd(t *testing.T) {
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
			t.Error("who left got", err)
		}
		s.Resume(0)
		s.Resume(1)
		harness.Eventually(t, "the last is deleted", func() bool {
			_, ok, err := c.Get(t.Context(), keys[999])
			return !ok && err == nil
		})
	})
}

// A lock is held through everything that moves many keys or bytes over the same Cluster.
func TestALockOutlivesBulkWork(t *testing.T) {
	s := harness.Real(t, 3, redisserver.Options{})
	cl := openWith(t, s, 500*time.Millisecond)
	locker, err := lock.New(cl, lock.Config{TTL: 2 * time.Second})
	must(t, err)
	harness.CloseAtEnd(t, locker)
	numbers := newOn(t, cl, cache.Config[string]{Prefix: "numbers:"})
	blobs := newOn(t, cl, cache.Config[[]byte]{Prefix: "blobs:", MaxValue: 60 << 20})
	sessions, err := session.New(cl, session.Config{})
	must(t, err)
	held, err := locker.TryLock(t.Context(), "held")
	must(t, err)
	many := keysUpTo(100_000)
	for _, work := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"100,000 deletions", func(ctx context.Context) error { return numbers.DeleteMany(ctx, many...) }},
		{"10,000 fetches", func(ctx context.Context) error {
			_, err := numbers.FetchMany(ctx, many[:10_000], func(_ context.Context, keys []string) (map[string]string, error) {
				found := make(map[string]string, len(keys))
				for _, key := range keys {
					found[key] = key
				}
				return found, nil
			})
			return err
		}},
		{"a value of 40 MiB", func(ctx context.Context) error {
			blob := []byte(strings.Repeat("x", 40<<20))
			err := blobs.Set(ctx, "blob", blob) // which may fail on a slow machine; the lock may not
			_, ok, missed := blobs.Get(ctx, "blob")
			t.Log("a blob:", err, ok, missed)
			return nil
		}},
		{"1,000 logouts", func(ctx context.Context) error {
			var wg sync.WaitGroup
			var failed error
			var mu sync.Mutex
			for i := range 1000 {
				wg.Go(func() {
					if err := sessions.LogoutAll(ctx, fmt.Sprint("user ", i), nil); err != nil {
						mu.Lock()
						defer mu.Unlock()
						failed = err
					}
				})
			}
			wg.Wait()
			return failed
		}},
	} {
		began := time.Now()
		err := work.do(t.Context())
		t.Log(work.name, "took", time.Since(began))
		if held.Err() != nil {
			harness.Missed(t, began, "after %s: %v", work.name, held.Err())
		}
		if err != nil {
			harness.Missed(t, began, "%s: %v", work.name, err)
		}
	}
	must(t, held.Release(t.Context()))
}
