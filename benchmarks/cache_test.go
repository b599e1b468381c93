//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	gocache "github.com/eko/gocache/lib/v4/cache"
	"github.com/eko/gocache/lib/v4/store"
	redisstore "github.com/eko/gocache/store/redis/v4"
	rediscache "github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidisaside"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// cacheRig is one server, or several, with everything that is compared on it.
type cacheRig struct {
	clients []*redis.Client // one for each server, as go-redis makes them
	cluster *cluster.Cluster
	ours    *cache.Cache[string]
	near    *cache.Cache[string]
}

// newServers starts servers, with a client of each as go-redis makes them, and a Cluster of all.
func newServers(b *testing.B, n int) (clients []*redis.Client, c *cluster.Cluster) {
	b.Helper()
	s, err := redisserver.Start(n, redisserver.Options{})
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(s.Close)
	for _, u := range s.URLs() {
		o, err := redis.ParseURL(u)
		if err != nil {
			b.Fatal(err)
		}
		client := redis.NewClient(o)
		b.Cleanup(func() { client.Close() })
		clients = append(clients, client)
	}
	ctx := context.Background()
	c, err = cluster.Open(ctx, cluster.Config{URLs: s.URLs(), NodeTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(ctx) })
	return clients, c
}

func newCacheRig(b *testing.B, servers int) *cacheRig {
	b.Helper()
	var err error
	ctx, r := context.Background(), &cacheRig{}
	r.clients, r.cluster = newServers(b, servers)
	for _, at := range []struct {
		to   **cache.Cache[string]
		near *cache.Near
	}{{&r.ours, nil}, {&r.near, &cache.Near{TTL: 30 * time.Second}}} {
		if *at.to, err = cache.New(r.cluster, cache.Config[string]{TTL: time.Hour, Near: at.near}); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { (*at.to).Close(ctx) })
	}
	return r
}

// spread runs fn b.N times over so many goroutines.
func spread(b *testing.B, goroutines int, fn func() error) {
	b.Helper()
	if err := fn(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for j := i; j < b.N; j += goroutines {
				if err := fn(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// newAside is rueidisaside on the first server, with so many bytes of memory; 0 is its default, 128 MiB.
func (r *cacheRig) newAside(b *testing.B, memory int) rueidisaside.CacheAsideClient {
	b.Helper()
	c, err := rueidisaside.NewClient(rueidisaside.ClientOption{ClientOption: rueidis.ClientOption{
		InitAddress: []string{r.clients[0].Options().Addr}, CacheSizeEachConn: memory,
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

var value = strings.Repeat("x", 200)

// BenchmarkCache_Hit reads one value of 200 bytes that is there.
//
// A hit of rueidisaside (rueidisaside-near) is one in its process's memory, which Redis tells what was changed (client-side
// caching): no node is asked, so it stands beside redlock-near, not beside GET. With a memory that holds nothing
// (rueidisaside) each read goes to the server, as the first of a key does: CLIENT CACHING, MULTI, PTTL, GET and EXEC in one
// pipeline, which callers who read the same key at the same time share.
func BenchmarkCache_Hit(b *testing.B) {
	ctx := context.Background()
	r := newCacheRig(b, 1)
	client := r.clients[0]
	redisCache := rediscache.New(&rediscache.Options{Redis: client})
	goCache := gocache.New[string](redisstore.NewRedis(client))
	aside, asideNear := r.newAside(b, 1), r.newAside(b, 0)
	for _, err := range []error{
		client.Set(ctx, "bare", value, time.Hour).Err(),
		r.ours.Set(ctx, "k", value),
		redisCache.Set(&rediscache.Item{Ctx: ctx, Key: "go-redis-cache", Value: value, TTL: time.Hour}),
		goCache.Set(ctx, "gocache", value, store.WithExpiration(time.Hour)),
		client.Set(ctx, "aside", value, time.Hour).Err(),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	load := func(context.Context) (string, error) { return value, nil }
	missing := func(_ context.Context, key string) (string, error) { return "", fmt.Errorf("%s is not there", key) }
	for _, goroutines := range []int{1, 256} {
		for _, path := range []struct {
			name string
			get  func() error
		}{
			{"GET", func() error { return client.Get(ctx, "bare").Err() }},
			{"redlock", func() error { _, _, err := r.ours.Get(ctx, "k"); return err }},
			{"redlock-fetch", func() error { _, err := r.ours.Fetch(ctx, "k", load); return err }},
			{"redlock-near", func() error { _, err := r.near.Fetch(ctx, "k", load); return err }},
			{"go-redis-cache", func() error { var v string; return redisCache.Get(ctx, "go-redis-cache", &v) }},
			{"gocache", func() error { _, err := goCache.Get(ctx, "gocache"); return err }},
			{"rueidisaside", func() error { _, err := aside.Get(ctx, time.Hour, "aside", missing); return err }},
			{"rueidisaside-near", func() error { _, err := asideNear.Get(ctx, time.Hour, "aside", missing); return err }},
		} {
			b.Run(fmt.Sprintf("goroutines=%d/%s", goroutines, path.name), func(b *testing.B) { spread(b, goroutines, path.get) })
		}
	}
}

// user is a value of about 200 bytes as JSON.
type user struct {
	ID          int64
	Name, Email string
	Roles       []string
	Since       time.Time
	Notes       string
}

// BenchmarkCache_GetMany reads a hundred values from three servers, as one MGET on each and as GetMany: of strings and of
// structs in JSON, and of strings that are not encoded.
func BenchmarkCache_GetMany(b *testing.B) {
	ctx := context.Background()
	r := newCacheRig(b, 3)
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprint("k", i))
		r.clients[i%3].Set(ctx, keys[i], value, time.Hour)
	}
	b.Run("MGET-each", func(b *testing.B) {
		spread(b, 1, func() error {
			var wg sync.WaitGroup
			var failed atomic.Value
			for i, c := range r.clients {
				wg.Go(func() {
					var mine []string
					for j := i; j < len(keys); j += 3 {
						mine = append(mine, keys[j])
					}
					if err := c.MGet(ctx, mine...).Err(); err != nil {
						failed.Store(err)
					}
				})
			}
			wg.Wait()
			err, _ := failed.Load().(error)
			return err
		})
	})
	ada := user{7, "Ada Lovelace", "ada@example.org", []string{"admin", "author"}, time.Now(), value[:50]}
	getMany(b, r.cluster, "redlock", cache.Config[string]{}, keys, value)
	getMany(b, r.cluster, "redlock-struct", cache.Config[user]{Prefix: "struct:"}, keys, ada)
	getMany(b, r.cluster, "redlock-raw", cache.Config[string]{Prefix: "raw:", Codec: untouched{}}, keys, value)
}

// getMany measures the GetMany of keys that all have the same value.
func getMany[V any](b *testing.B, c *cluster.Cluster, name string, cfg cache.Config[V], keys []string, v V) {
	ctx := context.Background()
	s, err := cache.New(c, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(ctx)
	for _, key := range keys {
		if err := s.Set(ctx, key, v); err != nil {
			b.Fatal(err)
		}
	}
	b.Run(name, func(b *testing.B) {
		spread(b, 1, func() error {
			got, err := s.GetMany(ctx, keys...)
			if err == nil && len(got) != len(keys) {
				err = fmt.Errorf("%d found", len(got))
			}
			return err
		})
	})
}

// untouched is a codec that does nothing, as a bare MGET decodes nothing. It owns what it decodes, and so need not copy it.
type untouched struct{}

func (untouched) Encode(v string) ([]byte, error) { return []byte(v), nil }
func (untouched) Decode(data []byte, v *string) error {
	*v = unsafe.String(unsafe.SliceData(data), len(data))
	return nil
}

// BenchmarkCache_Stampede has 1,000 goroutines of one process miss a key whose load takes 10 ms, and counts the loads.
func BenchmarkCache_Stampede(b *testing.B) {
	const goroutines = 1000
	ctx := context.Background()
	r := newCacheRig(b, 1)
	redisCache := rediscache.New(&rediscache.Options{Redis: r.clients[0]})
	var loads atomic.Int64
	load := func(context.Context) (string, error) {
		loads.Add(1)
		time.Sleep(10 * time.Millisecond)
		return value, nil
	}
	goCache := gocache.NewLoadable(func(ctx context.Context, _ any) (string, []store.Option, error) {
		v, err := load(ctx)
		return v, nil, err
	}, gocache.New[string](redisstore.NewRedis(r.clients[0])))
	b.Cleanup(func() { goCache.Close() })
	aside := r.newAside(b, 0)
	for _, path := range []struct {
		name  string
		fetch func(key string) error
	}{
		{"redlock", func(key string) error { _, err := r.ours.Fetch(ctx, key, load); return err }},
		{"go-redis-cache", func(key string) error {
			var v string
			return redisCache.Once(&rediscache.Item{Ctx: ctx, Key: key, Value: &v, TTL: time.Hour,
				Do: func(*rediscache.Item) (any, error) { return load(ctx) }})
		}},
		{"gocache", func(key string) error { _, err := goCache.Get(ctx, key); return err }},
		{"rueidisaside", func(key string) error {
			_, err := aside.Get(ctx, time.Hour, key, func(ctx context.Context, _ string) (string, error) { return load(ctx) })
			return err
		}},
	} {
		b.Run(path.name, func(b *testing.B) {
			loads.Store(0)
			for i := range b.N {
				var wg sync.WaitGroup
				for range goroutines {
					wg.Go(func() {
						if err := path.fetch(fmt.Sprint(path.name, b.N, "/", i)); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
			}
			b.ReportMetric(float64(loads.Load())/float64(b.N), "loads/op")
		})
	}
}
