package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestCache_Fetch_ServesASoftExpiredEntryWhileOneCallerLoads(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cfg := cache.Config[string]{TTL: time.Hour}
		a, b := newCache(t, s, cfg), newCache(t, s, cfg)
		must(t, a.Set(t.Context(), "k", "old", cache.SoftTTL(time.Millisecond)))
		g := newGate()
		var others atomic.Int32
		count := func(context.Context) (string, error) { others.Add(1); return "other", nil }
		began := time.Now()
		serves := func(c *cache.Cache[string], load cache.Loader[string], want string) bool {
			v, err := c.Fetch(t.Context(), "k", load)
			harness.Must(t, began, err)
			if v == "other" { // the first load lost its lease, as may happen on a slow machine
				harness.Missed(t, began, "loaded twice")
			}
			if v != "old" && v != want {
				t.Fatalf("fetched %q", v)
			}
			return v == want
		}
		harness.Eventually(t, "it is loaded again", func() bool {
			serves(a, g.load, "")
			return len(g.began) > 0
		})
		for range 50 { // the load does not end; no caller waits for it, and no other caller loads
			serves(a, count, "")
			serves(b, count, "")
		}
		g.give <- "new"
		harness.Eventually(t, "the new one is served", func() bool { return serves(b, count, "new") })
		if others.Load() != 0 || a.Stats().Refreshes != 1 {
			t.Errorf("%d other loads, stats %+v", others.Load(), a.Stats())
		}
	})
}

func TestCache_Fetch_RefreshOvertakenByADeleteIsNotStored(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{TTL: time.Hour})
		must(t, c.Set(t.Context(), "k", "old", cache.SoftTTL(time.Millisecond)))
		g := newGate()
		harness.Eventually(t, "it is loaded again", func() bool {
			c.Fetch(t.Context(), "k", g.load)
			return len(g.began) > 0
		})
		must(t, c.Delete(t.Context(), "k"))
		g.give <- "loaded before"
		harness.Eventually(t, "the fill is refused", func() bool { return c.Stats().Refused == 1 })
		gives(t, c, "k", "")
	})
}

func TestCache_Fetch_KeepsNotFoundForNegativeTTL(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{TTL: time.Hour, NegativeTTL: 2 * time.Second})
		var loads atomic.Int32
		load := func(context.Context) (string, error) {
			loads.Add(1)
			return "", fmt.Errorf("no user 7: %w", cache.ErrNotFound)
		}
		for range 3 {
			if _, err := c.Fetch(t.Context(), "k", load); !errors.Is(err, cache.ErrNotFound) {
				t.Fatal(err)
			}
		}
		if _, ok, err := c.Get(t.Context(), "k"); ok || !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("Get: %v, %v", ok, err)
		}
		if loads.Load() != 1 || c.Stats().Negative != 3 {
			t.Errorf("%d loads, stats %+v", loads.Load(), c.Stats())
		}
		harness.Eventually(t, "it is loaded again", func() bool {
			v, err := c.Fetch(t.Context(), "k", fixed("found"))
			return v == "found" && err == nil
		})
	})
}

func TestCache_Fetch_ServesStaleOnlyForAFailedLoadWithinStaleFor(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{TTL: time.Hour, StaleFor: time.Hour})
		strict := newCache(t, s, cache.Config[string]{TTL: time.Hour, Prefix: "strict:"})
		boom := errors.New("boom")
		fail := func(context.Context) (string, error) { return "", boom }
		for _, c := range []*cache.Cache[string]{c, strict} {
			must(t, c.Set(t.Context(), "k", "old", cache.TTL(time.Millisecond)))
			harness.Eventually(t, "it has expired", func() bool { _, ok, _ := c.Get(t.Context(), "k"); return !ok })
		}
		if v, err := c.Fetch(t.Context(), "k", fail); v != "old" || err != nil {
			t.Errorf("for a failed load: %q, %v", v, err)
		}
		if _, err := strict.Fetch(t.Context(), "k", fail); !errors.Is(err, boom) {
			t.Errorf("without StaleFor: %v", err)
		}
		must(t, c.Delete(t.Context(), "k"))
		if _, err := c.Fetch(t.Context(), "k", fail); !errors.Is(err, boom) {
			t.Errorf("after it was deleted: %v", err)
		}
		if v, err := c.Fetch(t.Context(), "k", fixed("new")); v != "new" || err != nil {
			t.Errorf("a load that works: %q, %v", v, err)
		}
		if n := c.Stats().Stale; n != 1 {
			t.Errorf("%d stale values served", n)
		}
		short := newCache(t, s, cache.Config[string]{TTL: time.Hour, StaleFor: time.Millisecond, Prefix: "short:"})
		must(t, short.Set(t.Context(), "k", "old", cache.TTL(time.Millisecond)))
		harness.Eventually(t, "it may not be served any more", func() bool {
			_, err := short.Fetch(t.Context(), "k", fail)
			return errors.Is(err, boom)
		})
	})
}

// A deletion during the failing load takes effect.
func TestCache_Fetch_ServesNothingDeletedForAFailedLoad(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{TTL: time.Hour, StaleFor: time.Hour})
		must(t, c.Set(t.Context(), "k", "old", cache.TTL(time.Millisecond)))
		harness.Eventually(t, "it has expired", func() bool { _, ok, _ := c.Get(t.Context(), "k"); return !ok })
		boom := errors.New("boom")
		_, err := c.Fetch(t.Context(), "k", func(ctx context.Context) (string, error) {
			return "", errors.Join(boom, c.Delete(ctx, "k"))
		})
		if !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
	})
}
