package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestCache_Get_SeesWhatAnotherProcessSetAndDeleted(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newCache(t, s, cache.Config[string]{}), newCache(t, s, cache.Config[string]{})
		for _, key := range []string{"plain", "with {a} tag", "a}b", "{}", strings.Repeat("k", 4096), "\x00\n", "}", "}b", "{", ":{b"} {
			gives(t, b, key, "")
			must(t, a.Set(t.Context(), key, "one"))
			gives(t, b, key, "one")
			must(t, a.Set(t.Context(), key, "two"))
			gives(t, b, key, "two")
			must(t, a.Delete(t.Context(), key))
			gives(t, b, key, "")
		}
		if st := b.Stats(); st.Hits != 20 || st.Misses != 20 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestCache_Get_TellsSimilarKeysApart(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	c := newCache(t, s, cache.Config[string]{})
	must(t, c.Set(t.Context(), "a", "plain"))
	must(t, c.Set(t.Context(), "{a}", "braces"))
	must(t, c.Set(t.Context(), "}:{:a", "those of a key with a brace"))
	must(t, c.Set(t.Context(), "}a", "a brace"))
	gives(t, c, "a", "plain")
	gives(t, c, "{a}", "braces")
	gives(t, c, "}:{:a", "those of a key with a brace")
	gives(t, c, "}a", "a brace")
}

// A server of a Redis Cluster runs a script only if all its keys are in one
// slot.
func TestCache_NodeMayBeARedisCluster(t *testing.T) {
	t.Parallel()
	harness.Real(t, 1, redisserver.Options{}) // skips where there are no real nodes
	many, err := redisserver.StartSharded(2, redisserver.Options{})
	must(t, err)
	t.Cleanup(many.Close)
	began := time.Now()
	cl, err := cluster.Open(t.Context(), cluster.Config{URLs: []string{many.URL()}, NodeTimeout: 5 * time.Second, Logger: quiet})
	harness.Must(t, began, err)
	t.Cleanup(func() { closes(t, cl.Close) })
	keys := []string{"plain", "other", "}", "}{", "}b}", "{", "{}", "{}b", "{a", "a}", "{a}{b}", "a{b}c"}
	for _, prefix := range []string{"", "{all}:", "}:", "}{all}{:"} {
		c := newOn(t, cl, cache.Config[string]{Prefix: prefix, LeaseTTL: time.Minute, LoadTimeout: time.Minute})
		for _, key := range keys {
			if v, err := c.Fetch(t.Context(), key, fixed(key)); v != key || err != nil {
				t.Errorf("prefix %q, key %q: fetched %q, %v", prefix, key, v, err)
			}
		}
		got, err := c.GetMany(t.Context(), keys...)
		if err != nil || len(got) != len(keys) {
			t.Errorf("prefix %q: read %v, %v", prefix, got, err)
		}
		if st := c.Stats(); st.Unleased+st.Refused > 0 {
			t.Errorf("prefix %q: %+v", prefix, st)
		}
		must(t, c.Set(t.Context(), keys[2], "set"))
		gives(t, c, keys[2], "set")
		must(t, c.DeleteMany(t.Context(), keys[1:]...))
		must(t, c.Delete(t.Context(), keys[0]))
		if got, err := c.GetMany(t.Context(), keys...); err != nil || len(got) != 0 {
			t.Errorf("prefix %q: after the deletion %v, %v", prefix, got, err)
		}
	}
}

func TestCache_Get_ReturnsValuesOfAnySize(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newOf(t, s, cache.Config[[]byte]{MaxValue: 1 << 20})
		for _, size := range []int{0, 1, 16 << 10, 700 << 10} {
			want := []byte(strings.Repeat("\n", size))
			must(t, c.Set(t.Context(), "k", want))
			if v, ok, err := c.Get(t.Context(), "k"); string(v) != string(want) || !ok || err != nil {
				t.Fatalf("%d bytes came back as %d, %v, %v", size, len(v), ok, err)
			}
		}
		if err := c.Set(t.Context(), "k", make([]byte, 1<<20+1)); !errors.Is(err, cache.ErrTooLarge) {
			t.Errorf("too large a value: %v", err)
		}
		if v, ok, err := c.Get(t.Context(), "k"); len(v) != 700<<10 || !ok || err != nil {
			t.Errorf("after the error: %d bytes, %v, %v; want the old value", len(v), ok, err)
		}
	})
}

func TestCache_Get_UndecodableEntryIsAMiss(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newOf(t, s, cache.Config[int]{})
		text := newCache(t, s, cache.Config[string]{})
		must(t, text.Set(t.Context(), "k", "no number"))
		if _, ok, err := c.Get(t.Context(), "k"); ok || err != nil {
			t.Errorf("another type's value: %v, %v", ok, err)
		}
		v, err := c.Fetch(t.Context(), "k", func(ctx cx) (int, error) { return 7, nil })
		if v != 7 || err != nil {
			t.Errorf("fetched %v, %v", v, err)
		}
		for _, junk := range []string{"", "junk", "w 1 2 3\n", "w 1 2 3 4 - 9\n", "\n\n", "w 99999999999999999999 0 1 0 - 0\nx"} {
			must(t, harness.Client(t, s, 0).Set(t.Context(), "cache:v:{j}", junk, time.Minute).Err())
			if _, ok, err := c.Get(t.Context(), "j"); ok || err != nil {
				t.Errorf("junk %q: %v, %v", junk, ok, err)
			}
			if v, err := c.Fetch(t.Context(), "j", func(ctx cx) (int, error) { return 8, nil }); v != 8 || err != nil {
				t.Errorf("fetched over junk %q: %v, %v", junk, v, err)
			}
		}
		if st := c.Stats(); st.Undecodable == 0 {
			t.Error("not counted")
		}
	})
}

// If a text is an entry for the scripts but not for Go, Fetch must not ask for
// it forever.
func TestCache_Fetch_LoadsOverAForeignEntry(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{})
		client := harness.Client(t, s, 0)
		for name, start := range map[string]string{"kind": "x ", "stamp": "w 999999"} {
			must(t, c.Set(t.Context(), name, "old"))
			text := client.Get(t.Context(), "cache:v:{"+name+"}").Val()
			must(t, client.Set(t.Context(), "cache:v:{"+name+"}", start+text[2:], time.Minute).Err())
			if got := harness.Receive(t, name+": it is loaded", fetching(t.Context(), c, name, fixed("new"))); got.v != "new" || got.err != nil {
				t.Errorf("%s: fetched %+v", name, got)
			}
		}
		gives(t, c, "kind", "new")
	})
}

// shy panics when it is encoded or decoded.
type shy struct{ Text string }

func (v shy) MarshalText() ([]byte, error) {
	if v.Text == "unwritable" {
		panic("unwritable")
	}
	return []byte(v.Text), nil
}

func (v *shy) UnmarshalText(data []byte) error {
	if v.Text = string(data); v.Text == "unreadable" {
		panic("unreadable")
	}
	return nil
}

// A codec may run on a goroutine of the Cache, where the program cannot recover
// its panic.
func TestCodec_PanicEndsNoProgram(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newOf(t, s, cache.Config[shy]{})
		for _, text := range []string{"unwritable", "unreadable"} {
			for range 2 {
				v, err := c.Fetch(t.Context(), text, func(context.Context) (shy, error) { return shy{text}, nil })
				if v.Text != text || err != nil {
					t.Errorf("fetched %v, %v", v, err)
				}
			}
		}
		var p *cache.PanicError
		if err := c.Set(t.Context(), "k", shy{"unwritable"}); !errors.As(err, &p) {
			t.Errorf("Set: %v", err)
		}
		if _, ok, err := c.Get(t.Context(), "unreadable"); ok || err != nil {
			t.Errorf("Get: %v, %v", ok, err)
		}
	})
}

func TestNew_ErrorNamesEveryBadField(t *testing.T) {
	t.Parallel()
	c := open(t, harness.Embedded(t, 1))
	_, err := cache.New(c, cache.Config[string]{Prefix: "}{}:", TTL: time.Microsecond, SoftTTL: time.Microsecond, StaleFor: -1,
		NegativeTTL: time.Nanosecond, LoadTimeout: -1, LeaseTTL: time.Hour, MaxValue: -1})
	for _, field := range []string{"Prefix", "TTL", "SoftTTL", "StaleFor", "NegativeTTL", "LoadTimeout", "LeaseTTL", "MaxValue"} {
		if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "Config."+field+": ") {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
}

func TestCache_RefusesBadArguments(t *testing.T) {
	t.Parallel()
	c := newCache(t, harness.Embedded(t, 1), cache.Config[string]{TTL: time.Minute})
	for i, err := range []error{
		c.Set(t.Context(), "", "v"),
		c.Set(t.Context(), strings.Repeat("k", 1<<20), "v"),
		c.Set(t.Context(), "k", "v", cache.TTL(time.Hour)),
		c.Set(t.Context(), "k", "v", cache.TTL(0)),
		c.Set(t.Context(), "k", "v", cache.TTL(time.Millisecond-1)),
		c.Set(t.Context(), "k", "v", cache.SoftTTL(time.Hour)),
		c.Set(t.Context(), "k", "v", cache.Tags("")),
		c.Set(t.Context(), "k", "v", cache.Tags("a\nb")),
		c.Delete(t.Context(), ""),
	} {
		if !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestCache_RefusesAnEndedContext(t *testing.T) {
	t.Parallel()
	c := newCache(t, harness.Embedded(t, 1), cache.Config[string]{})
	must(t, c.Set(t.Context(), "k", "v"))
	ctx, cancel := context_(t)
	cancel()
	_, _, err := c.Get(ctx, "k")
	_, ferr := c.Fetch(ctx, "k", fixed("w"))
	for _, err := range []error{err, ferr, c.Set(ctx, "k", "w"), c.Delete(ctx, "k")} {
		if !errors.Is(err, ctx.Err()) {
			t.Errorf("%v", err)
		}
	}
	gives(t, c, "k", "v")
}

func TestCache_Close_RefusesLaterCalls(t *testing.T) {
	t.Parallel()
	c := newCache(t, harness.Embedded(t, 1), cache.Config[string]{})
	closes(t, c.Close)
	_, _, err := c.Get(t.Context(), "k")
	_, ferr := c.Fetch(t.Context(), "k", fixed("w"))
	for _, err := range []error{err, ferr, c.Set(t.Context(), "k", "w"), c.Delete(t.Context(), "k")} {
		if !errors.Is(err, cache.ErrClosed) {
			t.Errorf("%v", err)
		}
	}
}

func TestCache_Get_EntryEndsWithItsTTL(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, cache.Config[string]{})
		must(t, c.Set(t.Context(), "k", "v", cache.TTL(50*time.Millisecond)))
		harness.Eventually(t, "it is gone", func() bool { _, ok, _ := c.Get(t.Context(), "k"); return !ok })
		began := time.Now()
		for i := range 100 {
			must(t, c.Set(t.Context(), fmt.Sprint(i), "v", cache.TTL(100*time.Second)))
		}
		client, seen := harness.Client(t, s, 0), map[time.Duration]bool{}
		for i := range 100 {
			ttl := client.PTTL(t.Context(), fmt.Sprintf("cache:v:{%d}", i)).Val()
			if passed := time.Since(began); ttl < 90*time.Second-passed || ttl > 110*time.Second {
				t.Errorf("TTL %v is more than a tenth off, %v later", ttl, passed)
			}
			seen[ttl.Truncate(time.Second)] = true
		}
		if len(seen) < 5 {
			t.Errorf("entries stored together expire together: %v", seen)
		}
	})
}
