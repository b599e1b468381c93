package cache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func keysUpTo(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint("k", i))
	}
	return keys
}

func TestCache_GetMany_AsksEachNodeOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{})
		keys := keysUpTo(100)
		for _, key := range keys[:50] {
			must(t, c.Set(t.Context(), key, "v"+key))
		}
		got, err := c.GetMany(t.Context(), keys...)
		if err != nil || len(got) != 50 || got["k7"] != "vk7" {
			t.Fatalf("%d found, %v", len(got), err)
		}
		if st := c.Stats(); st.Hits != 50 || st.Misses != 50 {
			t.Errorf("stats %+v", st)
		}
		for i := range s.Len() {
			if n := s.Commands(i)["mget"]; n != 1 {
				t.Errorf("node %d was asked %d times", i, n)
			}
		}
		must(t, c.DeleteMany(t.Context(), keys[:49]...))
		if got, err := c.GetMany(t.Context(), keys...); err != nil || len(got) != 1 {
			t.Errorf("after the deletion: %v, %v", got, err)
		}
	})
}

func TestCache_FetchMany_LoadsMissingKeysTogether(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cfg := cache.Config[string]{LeaseTTL: time.Minute, LoadTimeout: time.Minute, NegativeTTL: time.Minute}
		a, b := newCache(t, s, cfg), newCache(t, s, cfg)
		keys := keysUpTo(20)
		must(t, a.Set(t.Context(), "k0", "set"))
		var loads, loaded atomic.Int32
		load := func(_ context.Context, missing []string) (map[string]string, error) {
			loads.Add(1)
			loaded.Add(int32(len(missing)))
			out := map[string]string{}
			for _, key := range missing {
				if key != "k9" {
					out[key] = "loaded"
				}
			}
			return out, nil
		}
		done := make(chan error, 8)
		for i := range cap(done) {
			c := []*cache.Cache[string]{a, b}[i%2]
			go func() {
				got, err := c.FetchMany(t.Context(), slices.Concat(keys, []string{"k3"}), load)
				if err == nil && (len(got) != 19 || got["k0"] != "set" || got["k5"] != "loaded") {
					err = fmt.Errorf("fetched %v", got)
				}
				done <- err
			}()
		}
		for range cap(done) {
			if err := harness.Receive(t, "all are served", done); err != nil {
				t.Error(err)
			}
		}
		if loaded.Load() != 19 {
			t.Errorf("%d keys were loaded, in %d loads", loaded.Load(), loads.Load())
		}
		if _, _, err := b.Get(t.Context(), "k9"); !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("a key that the load left out: %v", err)
		}
		boom := errors.New("boom")
		got, err := a.FetchMany(t.Context(), []string{"k0", "new"}, func(context.Context, []string) (map[string]string, error) { return nil, boom })
		if !errors.Is(err, boom) || got["k0"] != "set" || len(got) != 1 {
			t.Errorf("with a load that fails: %v, %v", got, err)
		}
	})
}

// Two batches have keys in common. While the first loads, the second loads its
// other keys and waits for the common ones.
func TestCache_FetchMany_OverlappingOnesLoadEachKeyOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cfg := cache.Config[string]{LeaseTTL: time.Minute, LoadTimeout: time.Minute}
		a, b := newCache(t, s, cfg), newCache(t, s, cfg)
		keys := keysUpTo(30)
		began, first, goOn := make(chan int, 2), make(chan map[string]string, 1), make(chan struct{})
		load := func(prefix string, until <-chan struct{}) func(context.Context, []string) (map[string]string, error) {
			return func(_ context.Context, missing []string) (map[string]string, error) {
				began <- len(missing)
				<-until
				found := map[string]string{}
				for _, key := range missing {
					found[key] = prefix + key
				}
				return found, nil
			}
		}
		go func() {
			got, err := a.FetchMany(t.Context(), keys[:20], load("a", goOn))
			if err != nil {
				t.Error(err)
			}
			first <- got
		}()
		if n := harness.Receive(t, "the first to load", began); n != 20 {
			t.Errorf("the first loads %d of 20", n)
		}
		released := make(chan struct{})
		close(released)
		second := make(chan map[string]string, 1)
		go func() {
			got, err := b.FetchMany(t.Context(), keys[10:], load("b", released))
			if err != nil {
				t.Error(err)
			}
			second <- got
		}()
		if n := harness.Receive(t, "the second to load", began); n != 10 {
			t.Errorf("the second loads %d of 10", n)
		}
		close(goOn)
		one, other := harness.Receive(t, "the first", first), harness.Receive(t, "the second", second)
		for i, key := range keys {
			want := "a" + key
			if i >= 20 {
				want = "b" + key
			}
			if i < 20 && one[key] != want || i >= 10 && other[key] != want {
				t.Errorf("%s is %q and %q, want %q", key, one[key], other[key], want)
			}
		}
	})
}

func TestCache_FetchMany_LoadMayChangeItsKeys(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{})
		got, err := c.FetchMany(t.Context(), []string{"a", "b"}, func(_ context.Context, keys []string) (map[string]string, error) {
			clear(keys)
			return map[string]string{"a": "1", "b": "2"}, nil
		})
		if err != nil || got["a"] != "1" || got["b"] != "2" {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestCache_DeleteTag_DeletesEntriesWithTheTag(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newCache(t, s, cache.Config[string]{}), newCache(t, s, cache.Config[string]{})
		for i := range 30 {
			tags := []string{"all", fmt.Sprint("mod ", i%3)}
			must(t, a.Set(t.Context(), fmt.Sprint("k", i), "v", cache.Tags(tags...)))
		}
		must(t, a.Set(t.Context(), "bare", "v"))
		count := func() (n int) {
			got, err := b.GetMany(t.Context(), append(keysUpTo(30), "bare")...)
			must(t, err)
			return len(got)
		}
		if n := count(); n != 31 {
			t.Fatalf("%d found", n)
		}
		must(t, b.DeleteTag(t.Context(), "mod 1"))
		if n := count(); n != 21 {
			t.Errorf("%d found after a tag was deleted", n)
		}
		gives(t, a, "k0", "v")
		gives(t, a, "k1", "")
		must(t, a.Set(t.Context(), "k1", "again", cache.Tags("all", "mod 1")))
		gives(t, b, "k1", "again")
		must(t, b.DeleteTag(t.Context(), "all"))
		if n := count(); n != 1 {
			t.Errorf("%d found after all were deleted", n)
		}
		if v, err := b.Fetch(t.Context(), "k1", fixed("loaded"), cache.Tags("all")); v != "loaded" || err != nil {
			t.Errorf("loaded over a deleted one: %q, %v", v, err)
		}
		gives(t, a, "k1", "loaded")
	})
}

func TestCache_DeleteTag_EndsLoadsUnderWay(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newCache(t, s, cache.Config[string]{}), newCache(t, s, cache.Config[string]{})
		for round := range 2 { // in the second round the tag is used again in the meantime
			key := fmt.Sprint(round)
			g := newGate()
			first := fetching(t.Context(), a, key, g.load, cache.Tags("tag"))
			harness.Receive(t, "the load began", g.began)
			must(t, b.DeleteTag(t.Context(), "tag"))
			if round == 1 {
				must(t, b.Set(t.Context(), "other", "v", cache.Tags("tag")))
				for i := range 20 {
					must(t, b.Set(t.Context(), fmt.Sprint("other", i), "v", cache.Tags("tag")))
				}
			}
			g.give <- "old"
			harness.Receive(t, "it is served", first)
			gives(t, b, key, "")
		}
		if n := a.Stats().Refused; n != 2 {
			t.Errorf("%d fills were refused", n)
		}
	})
}

// A tag whose version was lost takes its entries with it.
func TestCache_DeleteTag_LostTagCountsAsDeleted(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{TTL: time.Hour})
		must(t, c.Set(t.Context(), "k", "v", cache.Tags("tag")))
		client := harness.Client(t, s, 0)
		if ttl := client.PTTL(t.Context(), "cache:t:tag").Val(); ttl < time.Hour {
			t.Errorf("a tag lives for %v", ttl)
		}
		must(t, client.Del(t.Context(), "cache:t:tag").Err())
		gives(t, c, "k", "")
		keys := harness.Keys(t, s, 0)
		if !slices.Equal(keys, []string{"cache:v:{k}"}) {
			t.Errorf("keys %q", keys)
		}
	})
}
