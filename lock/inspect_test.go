package lock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestLocker_ForceRelease_EndsTheHoldersContextWithItsCause(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		brief := func() *Locker {
			return locker(t, open(t, s, cluster.Config{NodeTimeout: renewed}), Config{TTL: 7 * time.Second})
		}
		k, person := brief(), brief() // the key is kept until the lease would have ended
		holding, token := make(chan struct{}), int64(0)
		done := do(t.Context(), k, "order:42", func(ctx context.Context) error {
			token, _ = Token(ctx)
			close(holding)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		harness.Receive(t, "the holder", holding)
		seen, err := person.Inspect(t.Context(), "order:42")
		if err != nil || seen.State != quorumlock.Held || seen.Token < token || seen.Token >= token+keepalive.MinTokenBlock {
			t.Fatalf("token %d: %+v, %v", token, seen, err)
		}
		if all, err := person.List(t.Context(), "order:"); err != nil || len(all) != 1 || all[0].Key != "order:42" {
			t.Errorf("%+v, %v", all, err)
		}
		if _, err := person.ForceRelease(t.Context(), seen, "ann"); err != nil {
			t.Fatal(err)
		}
		err = harness.Receive(t, "the holder to end", done)
		var lost *LostError
		if !errors.As(err, &lost) || !strings.HasPrefix(lost.Reason, "released by force by ann (") {
			t.Errorf("its holder ended by %v", err)
		}
		l := lock(t, person, "order:42")
		if l.Token() <= seen.Token {
			t.Errorf("token %d after %d", l.Token(), seen.Token)
		}
		release(t, l)
	})
}

func TestLocker_ForceReleaseNow_WakesTheWaiters(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		k, waiter, person := patient(t, s), patient(t, s), process(t, s)
		warm(t, k, waiter)
		l := lock(t, k, "k")
		woken := do(t.Context(), waiter, "k", nothing)
		queued(t, s, "k", 1)
		seen, err := person.Inspect(t.Context(), "k")
		if err != nil || seen.Waiting != 1 {
			t.Fatal(seen, err)
		}
		if err := person.ForceReleaseNow(t.Context(), seen); err != nil {
			t.Fatal(err)
		}
		if err := harness.Receive(t, "the one that waits", woken); err != nil {
			t.Error(err)
		}
		for i := range s.Len() { // none of which the release, and the one that waited, had to wait for
			harness.Eventually(t, "the key to be free on every node", func() bool {
				n, err := harness.Client(t, s, i).Exists(t.Context(), "lock:k").Result()
				return err == nil && n == 0
			})
		}
		if err := l.Release(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("the one before: %v", err)
		}
	})
}
