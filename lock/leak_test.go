package lock

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// What a Locker runs ends with it, while its Cluster lives on.
func TestLocker_Close_LeavesNoGoroutine(t *testing.T) {
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, cluster.Config{})
		use := func() {
			k, err := New(c, Config{TTL: long})
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"a", "b", "c"} {
				lock(t, k, key)
			}
			mailbox(t, k)
			waiter := do(t.Context(), k, "a", nothing)
			queuedHere(t, k, "a", 1)
			if err := k.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := harness.Receive(t, "the waiter's error", waiter); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
		use() // opens what belongs to the Cluster
		before := goleak.IgnoreCurrent()
		use()
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
}
