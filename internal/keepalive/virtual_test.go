package keepalive

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// virtually runs fn in virtual time. A timer belongs to the time it was made in, and go-redis keeps used ones in pools of
// the whole process; they are emptied before and after.
func virtually(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	emptyPools()
	defer emptyPools()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Hour) }) // what is on its way when everything is closed arrives
		fn(t)
	})
}

func emptyPools() {
	runtime.GC() // what a sync.Pool holds survives one collection
	runtime.GC()
}

// memory is a set of nodes that are reached without a socket, so that they live in the virtual time of a bubble.
type memory []*miniredis.Miniredis

func newMemory(t *testing.T, n int) memory {
	all := make(memory, n)
	for i := range all {
		all[i] = miniredis.NewMiniRedis()
		all[i].ClockTTL(true)
		t.Cleanup(all[i].Close)
	}
	return all
}

// open opens a process's view of the nodes. What it sends passes the gate with the
// node's index, or the last one.
func (m memory) open(t *testing.T, gates ...*gate) *nodeset.Set {
	t.Helper()
	return m.openWith(t, nodeset.Config{}, gates...)
}

func (m memory) openWith(t *testing.T, cfg nodeset.Config, gates ...*gate) *nodeset.Set {
	t.Helper()
	clients := map[string]redis.UniversalClient{}
	for i, node := range m {
		clients[fmt.Sprint("node", i)] = redis.NewClient(&redis.Options{
			Addr: "127.0.0.1:1",
			Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				return gates[min(i, len(gates)-1)].through(node.Dial())
			},
		})
	}
	cfg.Clients = clients
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	c, err := nodeset.Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() {
		c.Close(context.Background())
		for _, client := range clients {
			client.Close()
		}
	})
	return c
}

func TestLease_IsHeldAsLongAsItsWorkLasts(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		for range 2 { // the second when nothing has been held for a while
			l, err := s.TryAcquire(t.Context(), "job")
			must(t, err)
			time.Sleep(20 * time.Minute)
			if err := l.Err(); err != nil {
				t.Fatalf("after twenty minutes: %v", err)
			}
			if left := time.Until(l.Deadline()); left < l.TTL()/2 || left > l.TTL() {
				t.Errorf("the deadline is %v away, with a TTL of %v", left, l.TTL())
			}
			for i, n := range nodes {
				if left := n.TTL("lock:job"); left < l.TTL()/2 || left > l.TTL() {
					t.Errorf("node %d keeps the key for %v, with a TTL of %v", i, left, l.TTL())
				}
			}
			must(t, l.Release(t.Context()))
			time.Sleep(time.Minute)
		}
	})
}

func TestLease_Release_KeepsTheKeyUntilTheWorkHasReturned(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		l, err := s.TryAcquire(t.Context(), "job")
		must(t, err)
		told, mayEnd := make(chan struct{}), make(chan struct{})
		if err := l.Go(func(ctx context.Context) {
			<-ctx.Done()
			close(told)
			<-mayEnd
		}); err != nil {
			t.Fatal(err)
		}
		released := make(chan error, 1)
		go func() { released <- l.Release(context.Background()) }()
		<-told
		time.Sleep(3 * l.TTL())
		for i, n := range nodes {
			if !n.Exists("lock:job") {
				t.Errorf("node %d has the key no more, and the work has not returned", i)
			}
		}
		close(mayEnd)
		if err := <-released; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for i, n := range nodes {
			if n.Exists("lock:job") {
				t.Errorf("node %d has the key after the release", i)
			}
		}
	})
}

func TestLoss_AtTheDeadlineAlsoDuringARenewal(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		l, err := s.TryAcquire(t.Context(), "job")
		must(t, err)
		ctx, deadline := l.Context(), l.Deadline()
		// A round is begun, and never answered: it is not sent.
		if renew, _ := s.due(time.Now().Add(l.TTL()/2), false); len(renew) != 1 {
			t.Fatalf("%d leases are to be renewed at half of the TTL", len(renew))
		}
		time.Sleep(time.Until(deadline))
		if !errors.Is(context.Cause(ctx), ErrLost) {
			t.Errorf("at the deadline the context has ended by %v", context.Cause(ctx))
		}
	})
}

func TestLoss_OfAnIsolatedHolderIsBeforeItsDeadlineAndTheNextAcquisition(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, cable := newMemory(t, 5), &gate{}
		s := lease(t, nodes.open(t, cable), Config{})
		other := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		l, err := s.TryAcquire(t.Context(), "job")
		must(t, err)
		time.Sleep(time.Minute)
		cable.cut()
		got := make(chan time.Time)
		go func() {
			if _, err := other.Acquire(t.Context(), "job"); err != nil {
				t.Error(err)
			}
			got <- time.Now()
		}()
		<-l.Done()
		ended, deadline := time.Now(), l.Deadline()
		if ended.After(deadline) || deadline.Sub(ended) > 5*time.Millisecond {
			t.Errorf("it ended %v before its deadline", deadline.Sub(ended))
		}
		var lost *LostError
		if cause := context.Cause(l.Context()); !errors.As(cause, &lost) || lost.Reason != "expired" {
			t.Errorf("it ended because of %v", cause)
		}
		taken := <-got
		if !taken.After(ended) {
			t.Errorf("another had the key %v before the lease ended", ended.Sub(taken))
		}
		t.Logf("ended %v before its deadline, taken over %v after it", deadline.Sub(ended), taken.Sub(deadline))
	})
}

func TestWait_ACrashedHoldersKeyIsAcquiredWithinFiftyMillisecondsOfExpiry(t *testing.T) {
	for range 20 {
		virtually(t, func(t *testing.T) {
			nodes := newMemory(t, 5)
			s := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
			for _, n := range nodes {
				n.Set("lock:job", "somebody")
				n.SetTTL("lock:job", 7777*time.Millisecond)
			}
			expiry := time.Now().Add(7777 * time.Millisecond)
			if _, err := s.Acquire(t.Context(), "job"); err != nil {
				t.Fatal(err)
			}
			if late := time.Since(expiry); late < 0 || late > 50*time.Millisecond {
				t.Errorf("it was taken %v after it expired", late)
			}
		})
	}
}

func hourly(int) time.Duration { return time.Hour }
