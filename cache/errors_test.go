package cache_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestCache_OfNilOnlyRefuses(t *testing.T) {
	var none *cache.Cache[string]
	harness.OfNil(t, none, cluster.ErrConfig)
	if none.Stats() != (cache.Stats{}) {
		t.Error("a call of a nil Cache succeeded")
	}
}

func TestErrors_BeginWithThePrefixOnce(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 1)
	c := newOn(t, impatient(t, nodes), cache.Config[string]{})
	again := func(ctx context.Context) (string, error) { return c.Fetch(ctx, "key", fixed("value")) }
	_, reentrant := c.Fetch(t.Context(), "key", again)
	failed := map[error]error{cache.ErrReentrant: reentrant, cache.ErrNoLoad: c.Decide(t.Context(), "key")}
	nodes.Stop(0)
	harness.Eventually(t, "the node to be down", func() bool {
		_, _, err := c.Get(t.Context(), "key")
		failed[cluster.ErrNodeDown] = err
		return errors.Is(err, cluster.ErrNodeDown)
	})
	for want, err := range failed {
		if !errors.Is(err, want) || strings.Count(err.Error(), "redlock: ") != 1 || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q once, and the prefix: %v", want, err)
		}
	}
}

// calls returns all methods of c that take a context and ask the nodes.
func calls(c *cache.Cache[string]) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Get":       func(ctx context.Context) error { _, _, err := c.Get(ctx, "key"); return err },
		"GetMany":   func(ctx context.Context) error { _, err := c.GetMany(ctx, "key", "another"); return err },
		"Set":       func(ctx context.Context) error { return c.Set(ctx, "key", "value") },
		"Fetch":     func(ctx context.Context) error { _, err := c.Fetch(ctx, "key", fixed("value")); return err },
		"Delete":    func(ctx context.Context) error { return c.Delete(ctx, "key") },
		"MarkStale": func(ctx context.Context) error { return c.MarkStale(ctx, "key") },
		"DeleteTag": func(ctx context.Context) error { return c.DeleteTag(ctx, "tag") },
		"DeleteMany": func(ctx context.Context) error {
			return c.DeleteMany(ctx, "key", "another")
		},
		"FetchMany": func(ctx context.Context) error {
			_, err := c.FetchMany(ctx, []string{"key"}, func(context.Context, []string) (map[string]string, error) { return nil, nil })
			return err
		},
	}
}

var errWithdrawn = errors.New("the order was withdrawn")

func TestCache_ErrorsSayWhyTheContextEnded(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 1)
	c := newCache(t, nodes, cache.Config[string]{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errWithdrawn)
	for name, call := range calls(c) {
		if err := call(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, errWithdrawn) {
			t.Errorf("%s of a context that had ended: %v", name, err)
		}
	}
	nodes.Pause(0)
	defer nodes.Resume(0)
	for name, call := range calls(c) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errWithdrawn)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errWithdrawn) {
			t.Errorf("%s of a context that ends while the node is silent: %v", name, err)
		}
		cancel()
	}
}
