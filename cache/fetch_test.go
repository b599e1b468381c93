package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/test/harness"
)

type cx = context.Context

func context_(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

func TestCache_Fetch_ConcurrentMissesLoadOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		var caches []*cache.Cache[string]
		for range 4 {
			caches = append(caches, newCache(t, s, cache.Config[string]{}))
		}
		for round := range 20 {
			var loads atomic.Int32
			var wg sync.WaitGroup
			key := fmt.Sprint(round)
			for i := range 200 {
				wg.Go(func() {
					v, err := caches[i%len(caches)].Fetch(t.Context(), key, func(context.Context) (string, error) {
						loads.Add(1)
						runtime.Gosched()
						return key, nil
					})
					if v != key || err != nil {
						t.Errorf("fetched %q, %v", v, err)
					}
				})
			}
			wg.Wait()
			if n := loads.Load(); n != 1 {
				t.Errorf("round %d: %d loads", round, n)
			}
		}
	})
}

// The end of another load arrives as a notification, not by polling: the timer
// that backs it up is set to a minute.
func TestCache_Fetch_WaitersAreNotifiedOfTheFill(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cfg := cache.Config[string]{LoadTimeout: time.Minute, LeaseTTL: time.Minute}
		a, b := newCache(t, s, cfg), newCache(t, s, cfg)
		g := newGate()
		first := fetching(t.Context(), a, "k", g.load)
		harness.Receive(t, "the load began", g.began)
		second := fetching(t.Context(), b, "k", fixed("its own"))
		harness.Eventually(t, "the other waits", func() bool { return b.Stats().Waits > 0 })
		g.give <- "v"
		for _, ch := range []<-chan fetched{first, second} {
			if got := harness.Receive(t, "both are served", ch); got.v != "v" || got.err != nil {
				t.Errorf("fetched %+v", got)
			}
		}
	})
}

func TestCache_Delete_EndsALoadUnderWay(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newCache(t, s, cache.Config[string]{}), newCache(t, s, cache.Config[string]{})
		for _, end := range []struct {
			name string
			do   func() error
			then string
		}{
			{"deleted", func() error { return b.Delete(t.Context(), "k") }, ""},
			{"set", func() error { return b.Set(t.Context(), "k", "set") }, "set"},
		} {
			g := newGate()
			first := fetching(t.Context(), a, "k", g.load)
			harness.Receive(t, "the load began", g.began)
			must(t, end.do())
			g.give <- "old"
			// A caller that asked before the change may get the old value.
			if got := harness.Receive(t, "it is served", first); got.v != "old" || got.err != nil {
				t.Errorf("%s: fetched %+v", end.name, got)
			}
			gives(t, b, "k", end.then)
			must(t, b.Delete(t.Context(), "k"))
		}
		if n := a.Stats().Refused; n != 2 {
			t.Errorf("%d fills were refused", n)
		}
	})
}

// Caches on one Cluster must not take over each other's leases, or restore each
// other's deleted tags.
func TestCache_OnesOfOneClusterAreToldApart(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cl := open(t, s)
		a, b := newOn(t, cl, cache.Config[string]{}), newOn(t, cl, cache.Config[string]{})
		before, after := newGate(), newGate()
		first := fetching(t.Context(), a, "k", before.load)
		harness.Receive(t, "a loads", before.began)
		must(t, a.Delete(t.Context(), "k"))
		second := fetching(t.Context(), b, "k", after.load)
		harness.Receive(t, "b loads", after.began)
		before.give <- "old"
		harness.Receive(t, "a is served", first)
		gives(t, b, "k", "")
		after.give <- "new"
		harness.Receive(t, "b is served", second)
		gives(t, b, "k", "new")

		a, b = newOn(t, cl, cache.Config[string]{}), newOn(t, cl, cache.Config[string]{})
		must(t, a.Set(t.Context(), "tagged", "old", cache.Tags("tag")))
		must(t, a.DeleteTag(t.Context(), "tag"))
		must(t, b.Set(t.Context(), "other", "v", cache.Tags("tag")))
		gives(t, a, "tagged", "")
	})
}

// A caller that joins a load that began before a deletion must not get its
// result.
func TestCache_Fetch_AfterADeleteSharesNoOlderLoad(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newCache(t, s, cache.Config[string]{}), newCache(t, s, cache.Config[string]{})
		g := newGate()
		first := fetching(t.Context(), a, "k", g.load)
		harness.Receive(t, "the load began", g.began)
		must(t, b.Delete(t.Context(), "k"))
		misses := a.Stats().Misses
		late := fetching(t.Context(), a, "k", fixed("new"))
		harness.Eventually(t, "the late one missed", func() bool { return a.Stats().Misses > misses })
		g.give <- "old"
		harness.Receive(t, "the first is served", first)
		if got := harness.Receive(t, "the late one is served", late); got.v != "new" || got.err != nil {
			t.Errorf("a caller after the deletion fetched %+v", got)
		}
	})
}

// The central promise, compared with a simple handwritten cache. Values only
// grow in the source, each change is followed by a deletion, and after the
// deletion no caller may see a smaller value.
func TestCache_Delete_AgainstFillsLeavesNothingStale(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		const workers = 4
		rounds := 1000
		if _, slow := s.(*embedded.Nodes); slow {
			rounds = 200
		}
		reader, writer := newOf(t, s, cache.Config[int64]{}), newOf(t, s, cache.Config[int64]{})
		client := harness.Client(t, s, 0)
		var stale, naive atomic.Int32
		delay := func() { time.Sleep(rand.N(300 * time.Microsecond)) }
		round := func(key string) {
			var source atomic.Int64
			load := func(context.Context) (int64, error) {
				v := source.Load()
				delay()
				return v, nil
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				delay()
				if _, err := reader.Fetch(t.Context(), key, load); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() { // the handwritten cache
				delay()
				if client.Get(t.Context(), key).Err() != nil {
					v, _ := load(t.Context())
					client.Set(t.Context(), key, v, time.Minute)
				}
			})
			wg.Go(func() {
				delay()
				source.Store(1)
				client.Del(t.Context(), key)
				if err := writer.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			if v, ok, err := reader.Get(t.Context(), key); err != nil || ok && v == 0 {
				stale.Add(1)
			}
			if v, err := client.Get(t.Context(), key).Int64(); err == nil && v == 0 {
				naive.Add(1)
			}
		}
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				for i := range rounds / workers {
					round(fmt.Sprint(worker, "/", i))
				}
			})
		}
		wg.Wait()
		if n := stale.Load(); n > 0 {
			t.Errorf("%d of %d rounds left a stale value", n, rounds)
		}
		if naive.Load() == 0 {
			t.Log("the handwritten cache had no stale value either, so these rounds prove nothing on this machine")
		}
		t.Logf("stale: %d, handwritten cache: %d of %d; refused fills: %d", stale.Load(), naive.Load(), rounds, reader.Stats().Refused)
	})
}

// Forces the interleaving that the rounds above search for: the load has read
// its source, and continues after the value was deleted.
func TestCache_Delete_DropsAFillThatReadBeforeIt(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		reader, writer := newOf(t, s, cache.Config[int64]{}), newOf(t, s, cache.Config[int64]{})
		client := harness.Client(t, s, 0)
		read, deleted := make(chan struct{}), make(chan struct{})
		load := func(context.Context) (int64, error) {
			close(read)
			<-deleted
			return 0, nil
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := reader.Fetch(t.Context(), "k", load); err != nil {
				t.Error(err)
			}
			client.Set(t.Context(), "by hand", 0, time.Minute) // the handwritten cache writes at this moment
		})
		<-read
		client.Del(t.Context(), "by hand")
		if err := writer.Delete(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		close(deleted)
		wg.Wait()
		if v, ok, err := reader.Get(t.Context(), "k"); err != nil || ok {
			t.Errorf("read %d, %v, %v; want none", v, ok, err)
		}
		if client.Exists(t.Context(), "by hand").Val() == 0 {
			t.Error("the handwritten cache has no stale value either, so this proves nothing")
		}
	})
}

func TestCache_Fetch_CallerThatLeavesDoesNotEndTheLoad(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{})
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
		g := newGate()
		first := fetching(ctx, c, "k", g.load)
		loading := harness.Receive(t, "the load began", g.began)
		if loading.Value(key{}) != "kept" {
			t.Error("the load's context lost its values")
		}
		second := fetching(t.Context(), c, "k", fixed("its own"))
		cancel()
		if got := harness.Receive(t, "the first gives up", first); !errors.Is(got.err, context.Canceled) {
			t.Errorf("the first got %+v", got)
		}
		if loading.Err() != nil {
			t.Error("the load ended with its first caller")
		}
		g.give <- "v"
		if got := harness.Receive(t, "the second is served", second); got.v != "v" || got.err != nil {
			t.Errorf("the second got %+v", got)
		}
	})
}

func TestCache_Fetch_FailedLoadFailsItsCallersAndIsNotKept(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{LeaseTTL: time.Minute, LoadTimeout: time.Minute})
		boom := errors.New("boom")
		for name, load := range map[string]cache.Loader[string]{
			"error": func(cx) (string, error) { return "", boom },
			"panic": func(cx) (string, error) { panic(boom) },
		} {
			_, err := c.Fetch(t.Context(), "k", load)
			if !errors.Is(err, boom) {
				t.Errorf("%s: %v", name, err)
			}
			var p *cache.PanicError
			if errors.As(err, &p) != (name == "panic") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := c.Fetch(t.Context(), "k", func(cx) (string, error) { runtime.Goexit(); return "", nil }); err == nil {
			t.Error("a load that ended its goroutine succeeded")
		}
		if v, err := c.Fetch(t.Context(), "k", fixed("v")); v != "v" || err != nil { // the leases were released
			t.Errorf("the next load: %q, %v", v, err)
		}
		if st := c.Stats(); st.Loads != 4 || st.LoadErrors != 3 {
			t.Errorf("stats %+v", st)
		}
	})
}

// A process that paused for longer than its lease has lost the lease.
func TestFillLease_LostOneServesButStoresNothing(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newCache(t, s, cache.Config[string]{}), newCache(t, s, cache.Config[string]{})
		g := newGate()
		slow := fetching(t.Context(), a, "k", g.load)
		harness.Receive(t, "the load began", g.began)
		must(t, harness.Client(t, s, 0).Del(t.Context(), "cache:l:{k}").Err())
		if v, err := b.Fetch(t.Context(), "k", fixed("quick")); v != "quick" || err != nil {
			t.Errorf("the other process got %q, %v", v, err)
		}
		g.give <- "slow"
		if got := harness.Receive(t, "the slow one is served", slow); got.v != "slow" || got.err != nil {
			t.Errorf("got %+v", got)
		}
		gives(t, b, "k", "quick")
	})
}

// The lease is renewed: the load lasts until a lease without renewal would be
// long over.
func TestFillLease_OutlastsLeaseTTLWhileTheLoadRuns(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		t.Parallel()
		const lease = time.Second
		cfg := cache.Config[string]{LeaseTTL: lease, LoadTimeout: time.Minute}
		a, b := newCache(t, s, cfg), newCache(t, s, cfg)
		slow := func(cx) { // the nodes' clock decides when the lease would have ended
			client, end := harness.Client(t, s, 0), time.Time{}
			harness.Eventually(t, "a lease to be over", func() bool {
				now := client.Time(t.Context()).Val()
				if end.IsZero() {
					end = now.Add(3 * lease / 2)
				}
				return now.After(end)
			})
		}
		one := fetching(t.Context(), a, "one", func(ctx cx) (string, error) { slow(ctx); return "v", nil })
		began := time.Now()
		_, err := a.FetchMany(t.Context(), keysUpTo(20), func(ctx cx, keys []string) (map[string]string, error) {
			slow(ctx)
			found := map[string]string{}
			for _, key := range keys {
				found[key] = "v"
			}
			return found, nil
		})
		must(t, err)
		harness.Receive(t, "it is loaded", one)
		got, err := b.GetMany(t.Context(), append(keysUpTo(20), "one")...)
		must(t, err)
		if len(got) != 21 {
			harness.Missed(t, began, "%d of 21 were stored; %+v", len(got), a.Stats())
		}
	})
}

// A load that ignores its context delays its callers by LoadTimeout, and later
// callers not at all.
func TestCache_Fetch_HungLoadEndsForItsCallers(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{LoadTimeout: 300 * time.Millisecond})
		returned := make(chan struct{})
		defer close(returned)
		hang := func(cx) (string, error) { <-returned; return "late", nil }
		_, err := c.Fetch(t.Context(), "k", hang)
		if !errors.Is(err, context.DeadlineExceeded) || t.Context().Err() != nil {
			t.Errorf("its caller got %v", err)
		}
		if v, err := c.Fetch(t.Context(), "k", fixed("next")); v != "next" || err != nil {
			t.Errorf("the next load: %q, %v", v, err)
		}
		_, err = c.FetchMany(t.Context(), []string{"j"}, func(cx, []string) (map[string]string, error) { <-returned; return nil, nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller of many got %v", err)
		}
		waits := fetching(t.Context(), c, "i", hang)
		harness.Eventually(t, "it hangs", func() bool { return c.Stats().Loads == 4 })
		must(t, c.Close(t.Context()))
		harness.Receive(t, "the last leaves", waits)
	})
}

func TestCache_Fetch_OfTheKeyBeingLoadedFailsAtOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cfg := cache.Config[string]{LoadTimeout: time.Hour, LeaseTTL: time.Hour}
		cl := open(t, s)
		c := newOn(t, cl, cfg)
		cfg.Prefix = "other:"
		other := newOn(t, cl, cfg)
		many := func(ctx cx, key string) error {
			_, err := c.FetchMany(ctx, []string{"free", key}, func(cx, []string) (map[string]string, error) { return nil, nil })
			return err
		}
		for name, again := range map[string]func(ctx cx) error{
			"itself": func(ctx cx) error { _, err := c.Fetch(ctx, "k", fixed("v")); return err },
			"many":   func(ctx cx) error { return many(ctx, "k") },
			"around": func(ctx cx) error {
				_, err := other.Fetch(ctx, "j", func(ctx cx) (string, error) { return c.Fetch(ctx, "k", fixed("v")) })
				return err
			},
		} {
			_, err := c.Fetch(t.Context(), "k", func(ctx cx) (string, error) { return "", again(ctx) })
			if !errors.Is(err, cache.ErrReentrant) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := c.FetchMany(t.Context(), []string{"j", "k"}, func(ctx cx, _ []string) (map[string]string, error) {
			v, err := c.Fetch(ctx, "k", fixed("v"))
			return map[string]string{"j": v, "k": v}, err
		})
		if !errors.Is(err, cache.ErrReentrant) {
			t.Errorf("one of many: %v", err)
		}
		// Another key, and the same key of another Cache, do not deadlock.
		if v, err := c.Fetch(t.Context(), "k", func(ctx cx) (string, error) {
			v, err := other.Fetch(ctx, "k", fixed("v"))
			w, err2 := c.Fetch(ctx, "other", fixed("w"))
			return v + w, errors.Join(err, err2)
		}); v != "vw" || err != nil {
			t.Errorf("others: %q, %v", v, err)
		}
	})
}

func TestFillLease_EndsIfTheNodeCannotStore(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cfg := cache.Config[string]{LoadTimeout: time.Minute, LeaseTTL: time.Minute}
		a, b := newCache(t, s, cfg), newCache(t, s, cfg)
		client := harness.Client(t, s, 0)
		v, err := a.Fetch(t.Context(), "k", func(ctx cx) (string, error) {
			return "v", errors.Join(client.Del(ctx, "cache:t:tag").Err(), client.HSet(ctx, "cache:t:tag", "no", "version").Err())
		}, cache.Tags("tag"))
		if v != "v" || err != nil {
			t.Errorf("fetched %q, %v", v, err)
		}
		got := harness.Receive(t, "the next loads at once", fetching(t.Context(), b, "k", fixed("w")))
		if got.v != "w" || got.err != nil || b.Stats().Waits > 0 {
			t.Errorf("then %+v, %+v", got, b.Stats())
		}
	})
}

func TestCache_Fetch_ServesAValueTooLargeToStore(t *testing.T) {
	t.Parallel()
	c := newCache(t, harness.Embedded(t, 1), cache.Config[string]{MaxValue: 4})
	for range 2 {
		if v, err := c.Fetch(t.Context(), "k", fixed("large")); v != "large" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	}
	if st := c.Stats(); st.Loads != 2 || st.TooLarge != 2 {
		t.Errorf("stats %+v", st)
	}
}

func TestCache_Close_EndsALoad(t *testing.T) {
	t.Parallel()
	c := newCache(t, harness.Embedded(t, 1), cache.Config[string]{})
	g := newGate()
	got := fetching(t.Context(), c, "k", g.load)
	harness.Receive(t, "the load began", g.began)
	closes(t, c.Close)
	if r := harness.Receive(t, "the answer to the caller", got); !errors.Is(r.err, context.Canceled) {
		t.Errorf("got %+v", r)
	}
}
