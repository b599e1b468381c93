package cache

import (
	"context"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// The test controls the ticks, and leases last longer than the test on any
// machine.
func TestFillLease_IsRenewedWhileItsLoadRuns(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, nodes harness.Set) {
		t.Parallel()
		s, client := open(t, nodes, 15*time.Second), harness.Client(t, nodes, 0)
		ticks := make(chan time.Time)
		s.ticker = func(time.Duration) (<-chan time.Time, func()) { return ticks, func() {} }
		renewed := func(key string) bool {
			lease := s.leaseName(key)
			if !client.PExpire(t.Context(), lease, s.cfg.LeaseTTL/4).Val() {
				t.Errorf("there is no lease of %q", key)
			}
			for range 2 { // the second tick is taken once the first renewal is done
				ticks <- time.Time{}
			}
			return client.PTTL(t.Context(), lease).Val() > s.cfg.LeaseTTL/3
		}
		if _, err := s.Fetch(t.Context(), "one", func(context.Context) (string, error) {
			if !renewed("one") {
				t.Error("the lease is not renewed")
			}
			return "v", nil
		}); err != nil {
			t.Error(err)
		}
		if _, err := s.FetchMany(t.Context(), []string{"a", "b"}, func(context.Context, []string) (map[string]string, error) {
			if !renewed("a") || !renewed("b") {
				t.Error("the leases of a batch are not renewed")
			}
			return map[string]string{"a": "v", "b": "v"}, nil
		}); err != nil {
			t.Error(err)
		}
		must(t, s.Delete(t.Context(), "ended"))
		if _, err := s.Fetch(t.Context(), "ended", func(ctx context.Context) (string, error) {
			must(t, s.Delete(ctx, "ended"))
			for range 2 {
				ticks <- time.Time{}
			}
			if client.Exists(ctx, s.leaseName("ended")).Val() != 0 {
				t.Error("a renewal revived a lease that had ended")
			}
			return "v", nil
		}); err != nil {
			t.Error(err)
		}
	})
}
