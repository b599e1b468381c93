package cache_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, s harness.Set) *cluster.Cluster { return openWith(t, s, 10*time.Second) }

// impatient opens a Cluster for a test in which a node stops answering.
func impatient(t testing.TB, s harness.Set) *cluster.Cluster {
	return openWith(t, s, time.Second)
}

func openWith(t testing.TB, s harness.Set, nodeTimeout time.Duration) *cluster.Cluster {
	t.Helper()
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs(), NodeTimeout: nodeTimeout, Logger: quiet})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	return c
}

// newCache returns a Cache of strings on a Cluster of its own, as in another
// process.
func newCache(t testing.TB, s harness.Set, cfg cache.Config[string]) *cache.Cache[string] {
	t.Helper()
	return newOn(t, open(t, s), cfg)
}

func newOf[V any](t testing.TB, s harness.Set, cfg cache.Config[V]) *cache.Cache[V] {
	t.Helper()
	return newOn(t, open(t, s), cfg)
}

func newOn[V any](t testing.TB, cl *cluster.Cluster, cfg cache.Config[V]) *cache.Cache[V] {
	t.Helper()
	c, err := cache.New(cl, cfg)
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, c)
	return c
}

func closes(t testing.TB, close func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
	defer cancel()
	if err := close(ctx); err != nil {
		t.Error("close: ", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gives fails unless Get returns want; "" means no value.
func gives(t testing.TB, c *cache.Cache[string], key, want string) {
	t.Helper()
	v, ok, err := c.Get(t.Context(), key)
	if err != nil || ok != (want != "") || v != want {
		t.Fatalf("Get(%q) = %q, %v, %v; want %q", key, v, ok, err, want)
	}
}

// fixed returns a load that returns v.
func fixed(v string) cache.Loader[string] {
	return func(context.Context) (string, error) { return v, nil }
}

// gate is a load that reports when it begins, and returns the value that the
// test sends it.
type gate struct {
	began chan context.Context
	give  chan string
}

func newGate() gate { return gate{make(chan context.Context, 100), make(chan string)} }

func (g gate) load(ctx context.Context) (string, error) {
	g.began <- ctx
	select {
	case v := <-g.give:
		return v, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

type fetched struct {
	v   string
	err error
}

// fetching calls Fetch in the background.
func fetching(ctx context.Context, c *cache.Cache[string], key string, load cache.Loader[string], opts ...cache.Option) <-chan fetched {
	out := make(chan fetched, 1)
	go func() {
		v, err := c.Fetch(ctx, key, load, opts...)
		out <- fetched{v, err}
	}()
	return out
}
