package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestCache_MarkStale_ServesTheOldValueWhileOneCallerLoads(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cfg := cache.Config[string]{TTL: time.Hour, LoadTimeout: time.Minute, Near: &cache.Near{}}
		a, b := newCache(t, s, cfg), newCache(t, s, cfg)
		must(t, a.MarkStale(t.Context(), "none"))
		gives(t, a, "none", "")
		must(t, a.Set(t.Context(), "k", "old", cache.Tags("tag")))
		must(t, a.MarkStale(t.Context(), "k"))
		gives(t, b, "k", "old")
		g := newGate()
		harness.Eventually(t, "it is loaded again", func() bool {
			if v, err := a.Fetch(t.Context(), "k", g.load); v != "old" || err != nil {
				t.Fatalf("fetched %q, %v", v, err)
			}
			return len(g.began) > 0
		})
		if leases := leasesOf(t, s, "k"); leases != 1 {
			t.Errorf("%d nodes have granted a lease", leases)
		}
		// After it is marked again, the value that is being loaded may be stale
		// as well.
		must(t, b.MarkStale(t.Context(), "k"))
		if leases := leasesOf(t, s, "k"); leases != 0 {
			t.Errorf("%d nodes have a lease that was granted before", leases)
		}
		g.give <- "too old"
		harness.Eventually(t, "it is refused", func() bool { return a.Stats().Refused == 1 })
		gives(t, a, "k", "old")
		harness.Eventually(t, "it is new", func() bool {
			v, err := a.Fetch(t.Context(), "k", fixed("new"))
			must(t, err)
			return v == "new"
		})
		must(t, a.MarkStale(t.Context(), "k"))
		must(t, b.Delete(t.Context(), "k"))
		gives(t, a, "k", "")
	})
}

// leasesOf returns how many nodes have a fill lease of key.
func leasesOf(t *testing.T, s harness.Set, key string) (n int64) {
	for i := range s.Len() {
		n += harness.Client(t, s, i).Exists(t.Context(), "cache:l:{"+key+"}").Val()
	}
	return n
}

func TestCache_Decide_SetsTTLAndTagsFromTheLoad(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newCache(t, s, cache.Config[string]{TTL: time.Hour}), newCache(t, s, cache.Config[string]{TTL: time.Hour})
		client := harness.Client(t, s, 0)
		decides := func(during func(cx) error, opts ...cache.Option) cache.Loader[string] {
			return func(ctx cx) (string, error) {
				err := during(ctx)
				return "v", errors.Join(err, a.Decide(ctx, "k", opts...))
			}
		}
		nothing := func(cx) error { return nil }
		fetch := func(load cache.Loader[string], opts ...cache.Option) {
			t.Helper()
			if v, err := a.Fetch(t.Context(), "k", load, opts...); v != "v" || err != nil {
				t.Fatalf("fetched %q, %v", v, err)
			}
		}
		fetch(decides(nothing, cache.TTL(time.Minute), cache.Tags("late")), cache.Tags("early"))
		if ttl := client.TTL(t.Context(), "cache:v:{k}").Val(); ttl > 2*time.Minute || ttl <= 0 {
			t.Errorf("its TTL is %v", ttl)
		}
		for _, tag := range []string{"late", "early"} {
			gives(t, b, "k", "v")
			must(t, b.DeleteTag(t.Context(), tag))
			gives(t, b, "k", "")
			fetch(decides(nothing, cache.Tags("late")), cache.Tags("early"))
		}
		// The tag is deleted while the load runs, before the load has set it.
		must(t, b.Delete(t.Context(), "k"))
		fetch(decides(func(ctx cx) error {
			return errors.Join(b.DeleteTag(ctx, "late"), b.Set(ctx, "other", "v", cache.Tags("late")))
		}, cache.Tags("late")))
		gives(t, b, "k", "")
		fetch(decides(func(ctx cx) error { return b.DeleteTag(ctx, "unused") }, cache.Tags("late")))
		gives(t, b, "k", "v")

		if err := a.Decide(t.Context(), "k"); !errors.Is(err, cache.ErrNoLoad) {
			t.Errorf("outside of a load: %v", err)
		}
		_, err := a.FetchMany(t.Context(), []string{"m", "n"}, func(ctx cx, _ []string) (map[string]string, error) {
			if err := a.Decide(ctx, "k"); !errors.Is(err, cache.ErrNoLoad) {
				t.Errorf("on another key: %v", err)
			}
			if err := a.Decide(ctx, "m", cache.TTL(2*time.Hour)); !errors.Is(err, cluster.ErrConfig) {
				t.Errorf("a TTL above Config.TTL: %v", err)
			}
			return map[string]string{"m": "v", "n": "v"}, a.Decide(ctx, "m", cache.Tags("late"))
		})
		must(t, err)
		must(t, b.DeleteTag(t.Context(), "late"))
		gives(t, b, "m", "")
		gives(t, b, "n", "v")
	})
}

func TestNear_IsBoundedInBytes(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	c := newCache(t, s, cache.Config[string]{TTL: time.Hour, Near: &cache.Near{Bytes: 100 << 10, TTL: 30 * time.Second}})
	kept := func() (n int) {
		for i := range 50 {
			before := c.Stats().NearHits
			if _, _, err := c.Get(t.Context(), fmt.Sprint("k", i)); err != nil {
				t.Fatal(err)
			}
			n += int(c.Stats().NearHits - before)
		}
		return n
	}
	for i := range 50 {
		must(t, c.Set(t.Context(), fmt.Sprint("k", i), strings.Repeat("v", 10<<10)))
	}
	harness.Eventually(t, "memory keeps some", func() bool { return kept() > 0 })
	for range 10 {
		kept()
	}
	harness.Eventually(t, "memory keeps no more than fit", func() bool { return kept() <= 10 })
}

// A value that cannot be encoded is served, counted and logged.
func TestCache_Fetch_ServesAndReportsAnUnencodableValue(t *testing.T) {
	t.Parallel()
	lines := &said{}
	began := time.Now()
	cl, err := cluster.Open(t.Context(), cluster.Config{
		URLs: harness.Embedded(t, 1).URLs(), NodeTimeout: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(lines, nil)),
	})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, cl)
	c := newOn(t, cl, cache.Config[float64]{})
	var loads atomic.Int32
	for range 2 {
		v, err := c.Fetch(t.Context(), "k", func(context.Context) (float64, error) { loads.Add(1); return math.Inf(1), nil })
		if !math.IsInf(v, 1) || err != nil {
			t.Errorf("fetched %v, %v", v, err)
		}
	}
	if st := c.Stats(); st.Unencodable != 2 || loads.Load() != 2 || st.Refused != 0 {
		t.Errorf("stats %+v", st)
	}
	closes(t, c.Close)
	closes(t, cl.Close) // waits for the log
	if log := lines.String(); !strings.Contains(log, "cannot be encoded") || !strings.Contains(log, "key=k") {
		t.Errorf("%q does not report it", log)
	}
}

func TestNew_RefusesAnotherTypeUnderAPrefix(t *testing.T) {
	t.Parallel()
	cl := open(t, harness.Embedded(t, 1))
	a := newOn(t, cl, cache.Config[string]{})
	newOn(t, cl, cache.Config[string]{})
	newOn(t, cl, cache.Config[int]{Prefix: "numbers:"})
	for name, err := range map[string]error{
		"type":  second(cache.New(cl, cache.Config[int]{})),
		"codec": second(cache.New(cl, cache.Config[string]{Codec: cache.JSON[string]{}})),
	} {
		if !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	closes(t, a.Close)
	if _, err := cache.New(cl, cache.Config[int]{}); err == nil {
		t.Error("another type while one of two was closed")
	}
	other := open(t, harness.Embedded(t, 1))
	closes(t, newOn(t, other, cache.Config[int]{}).Close)
	newOn(t, other, cache.Config[string]{})
}

func second[T any](_ T, err error) error { return err }

// An entry of a program with another format of values is a miss.
func TestCache_Get_EntryOfAnOlderFormatIsAMiss(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{})
		client := harness.Client(t, s, 0)
		must(t, c.Set(t.Context(), "k", "new"))
		text := client.Get(t.Context(), "cache:v:{k}").Val()
		must(t, client.Set(t.Context(), "cache:v:{k}", "v"+text[1:], 0).Err())
		gives(t, c, "k", "")
		if v, err := c.Fetch(t.Context(), "k", fixed("loaded")); v != "loaded" || err != nil {
			t.Errorf("fetched %q, %v", v, err)
		}
		gives(t, c, "k", "loaded")
	})
}

// said records the log.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
