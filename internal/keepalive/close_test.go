package keepalive

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLeases_Close_WaitsForAReleaseThatWaitsForItsWork(t *testing.T) {
	for name, dead := range map[string]bool{"release waits": false, "its context ended": true} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes := newMemory(t, 3)
				s := lease(t, nodes.open(t, &gate{}), Config{TTL: 5 * time.Second})
				l := acquireAtOnce(t, s, "job", Request{})
				const work = time.Minute // the key has to be kept meanwhile
				var ended time.Time
				if err := l.Go(func(context.Context) { time.Sleep(work); ended = time.Now() }); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if dead {
					cancel()
				}
				released := make(chan error, 1)
				go func() { released <- l.Release(ctx) }()
				synctest.Wait() // it waits for the work, or has left that to itself
				go func() {
					time.Sleep(work / 2)
					for i, n := range nodes {
						if !n.Exists("lock:job") {
							t.Errorf("node %d has given up the key while the work goes on", i)
						}
					}
				}()
				must(t, s.Close(t.Context()))
				if ended.IsZero() {
					t.Error("Close did not wait for the work")
				}
				if err := <-released; (err != nil) != dead || dead && !errors.Is(err, context.Canceled) {
					t.Errorf("Release = %v", err)
				}
				synctest.Wait() // a release waits for a quorum
				for i, n := range nodes {
					if n.Exists("lock:job") {
						t.Errorf("node %d still has the key", i)
					}
				}
			})
		})
	}
}

// Who closes a Leases and then its Cluster leaves nothing behind, whatever was under way.
func TestLeases_Close_LeavesNothingOfAnAttemptInFlight(t *testing.T) {
	for round := range 40 {
		virtually(t, func(t *testing.T) {
			nodes, cable := newMemory(t, 1), &gate{}
			c := nodes.open(t, cable)
			s := lease(t, c, Config{})
			cable.delay.Store(int64(10 * time.Millisecond))
			acquired := await(t.Context(), s, "job", Request{})
			time.Sleep(time.Duration(round) * time.Millisecond)
			must(t, errors.Join(s.Close(t.Context()), c.Close(t.Context())))
			for i, n := range nodes {
				if n.Exists("lock:job") {
					t.Errorf("closed after %d ms, node %d has the key still", round, i)
				}
			}
			if r := <-acquired; r.err == nil && r.l.Err() == nil {
				t.Error("a lease stands after Close")
			}
		})
	}
}
