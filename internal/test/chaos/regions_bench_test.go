//go:build unix

package chaos

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// near and far are the round-trip times within a region and between two
// regions.
const near, far = time.Millisecond, 70 * time.Millisecond

// inRegion returns the Locker of a process with these round-trip times to the
// nodes.
func inRegion(b *testing.B, nodes harness.Set, trips [5]time.Duration) *lock.Locker {
	b.Helper()
	cfg := cluster.Config{Clients: map[string]redis.UniversalClient{}, Logger: slog.New(slog.DiscardHandler)}
	for i, u := range nodes.URLs() {
		addr := strings.TrimPrefix(u, "redis://")
		l, err := newLink(addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(l.close)
		l.set(weather{distance: trips[i] / 2})
		client := redis.NewClient(&redis.Options{Addr: l.addr()})
		b.Cleanup(func() { client.Close() })
		cfg.Clients[string(rune('a'+i))] = client
	}
	c, err := cluster.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	k, err := lock.New(c, lock.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		k.Close(context.Background())
		c.Close(context.Background())
	})
	return k
}

// BenchmarkRegions measures the cost of distance between nodes, for a lock of a
// free key, and for a key for which two processes in different regions contend;
// there, one operation is a lock by each. The links are proxies that delay
// every packet by half a round trip.
func BenchmarkRegions(b *testing.B) {
	for _, set := range []struct {
		name        string
		here, there [5]time.Duration
	}{
		{"all nodes in one region", [5]time.Duration{near, near, near, near, near}, [5]time.Duration{far, far, far, far, far}},
		{"three nodes here and two there", [5]time.Duration{near, near, near, far, far}, [5]time.Duration{far, far, far, near, near}},
		{"two here, two there, one in a third", [5]time.Duration{near, near, far, far, far}, [5]time.Duration{far, far, near, near, far}},
	} {
		b.Run(set.name, func(b *testing.B) {
			nodes := harness.Embedded(b, 5)
			here, there := inRegion(b, nodes, set.here), inRegion(b, nodes, set.there)
			work := func(context.Context) error { return nil }
			for name, k := range map[string]*lock.Locker{"here": here, "there": there} {
				b.Run("a free key/"+name, func(b *testing.B) {
					for b.Loop() {
						if err := k.WithLock(b.Context(), name, work); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			b.Run("both", func(b *testing.B) {
				done := make(chan error, 2)
				for _, k := range []*lock.Locker{here, there} {
					go func() {
						var err error
						for i := 0; i < b.N && err == nil; i++ {
							err = k.WithLock(b.Context(), "key", work)
						}
						done <- err
					}()
				}
				for range 2 {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
