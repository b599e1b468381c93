package fence

import (
	"context"
	"testing"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// A downgrade changes the token of the lock that a received token was put under; no
// lock was acquired under it.
func TestWithToken_OutlastsADowngradeOfTheLockAroundIt(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		c, err := cluster.Open(t.Context(), cluster.Config{URLs: nodes.URLs()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		k, err := lock.New(c, lock.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close(context.Background())
		err = k.WithLock(t.Context(), "k", func(ctx context.Context) error {
			under := WithToken(ctx, "k", 5)
			if n, ok := find(under, "k"); !ok || n != 5 {
				t.Errorf("before: %d", n)
			}
			l, _ := lease.FromContext(ctx)
			if err := l.Downgrade(ctx); err != nil {
				return err
			}
			if n, ok := find(under, "k"); !ok || n != 5 {
				t.Errorf("the token is %d", n)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
