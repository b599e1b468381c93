package quorumlock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// site is what a lock protects: it notes who is inside, and checks what must hold.
type site struct {
	mu      sync.Mutex
	inside  *Hold
	newest  int64 // the largest token of an acquisition that has finished
	entered int
}

// finished is the largest token that was settled by now.
func (s *site) finished() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

func (s *site) holds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entered
}

// enter is called as soon as h was acquired by an attempt that began when the newest token was this.
func (s *site) enter(t *testing.T, h *Hold, before int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if other := s.inside; other != nil && !nodeset.Passed(other.Deadline(), now) && !nodeset.Passed(h.Deadline(), now) {
		t.Errorf("%s: two holds at once, tokens %d and %d, deadlines in %v and %v", h.Key(),
			other.Token(), h.Token(), other.Deadline().Sub(now), h.Deadline().Sub(now))
	}
	if h.Token() <= before {
		t.Errorf("%s: token %d, after one with %d had finished", h.Key(), h.Token(), before)
	}
	s.newest = max(s.newest, h.Token())
	s.inside = h
	s.entered++
}

// leave is called before h is given back.
func (s *site) leave(h *Hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inside == h {
		s.inside = nil
	}
}

const (
	stressProcesses = 8
	stressWorkers   = 8
	stressKeys      = 3
	stressTime      = time.Second // at least
)

func TestStress_ExclusionAndOrderHoldUnderFaults(t *testing.T) {
	onNodesAlone(t, 5, func(t *testing.T, r *rig) {
		sites := make([]site, stressKeys)
		var workers sync.WaitGroup
		var reds []*Redlock
		for range stressProcesses {
			c := r.open(func(cfg *nodeset.Config) { cfg.MaxTTL, cfg.NodeTimeout = time.Second, 300*time.Millisecond })
			reds = append(reds, r.redlock(c, Config{TTL: 400 * time.Millisecond}))
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for _, red := range reds {
			for range stressWorkers {
				workers.Go(func() {
					for failures := 0; ctx.Err() == nil; {
						k := rand.IntN(stressKeys)
						if attempt(t, ctx, red, fmt.Sprint(k), &sites[k]) {
							failures = 0
							continue
						}
						failures++ // many who try at once split the votes, unless they try less often
						wait(ctx, rand.N(4*time.Millisecond<<min(failures, 9)))
					}
				})
			}
		}
		// At most one node at a time may have lost something, and one is frozen, so that a quorum goes on.
		hurt := harness.Async(func() error { return hurtNodes(ctx, r) })
		harness.Past(time.Now().Add(stressTime))
		for k := range sites {
			harness.Eventually(t, "everything was held a few times", func() bool { return sites[k].holds() >= 5 })
		}
		cancel()
		workers.Wait()
		if err := harness.Receive(t, "the end of the faults", hurt); err != nil {
			t.Fatal(err)
		}
		for k := range sites {
			t.Logf("%d holds of %d", sites[k].entered, k)
			harness.Eventually(t, "no key is left", func() bool { return len(r.Having(fmt.Sprintf("lock:%d", k))) == 0 })
		}
	})
}

// attempt makes one acquisition, and checks it. It reports whether it was won.
func attempt(t *testing.T, ctx context.Context, red *Redlock, key string, s *site) bool {
	before := s.finished()
	h, err := red.Acquire(ctx, key, Request{TokenBlock: 1 + rand.IntN(MaxTokenBlock)})
	if err != nil {
		if !errors.Is(err, ErrNotAcquired) && !errors.Is(err, nodeset.ErrNoQuorum) && ctx.Err() == nil {
			t.Errorf("acquire: %v", err)
		}
		return false
	}
	s.enter(t, h, before)
	if rand.IntN(4) == 0 {
		_ = h.ExtendNow(ctx, h.TTL())
	}
	s.leave(h)
	if rand.IntN(4) == 0 {
		h.Abort(errors.New("for a test"))
		return true
	}
	if err := h.Release(ctx); err != nil && !errors.Is(err, ErrLost) && !errors.Is(err, nodeset.ErrNoQuorum) && ctx.Err() == nil {
		t.Errorf("release: %v", err)
	}
	return true
}

// hurtNodes freezes one node after the other, and restarts one without its data, until ctx ends.
func hurtNodes(ctx context.Context, r *rig) error {
	for i := 0; ; i++ {
		frozen, restarted := i%5, (i+2)%5
		r.Pause(frozen)
		if i%12 == 2 { // no more often than every MaxTTL
			if err := r.Restart(restarted, true); err != nil {
				return err
			}
		}
		wait(ctx, rand.N(150*time.Millisecond))
		r.Resume(frozen)
		if wait(ctx, rand.N(100*time.Millisecond)) {
			return nil
		}
	}
}

// wait waits for d. It reports whether ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return false
	case <-ctx.Done():
		return true
	}
}

// Attempts are cancelled at any moment, while nodes freeze, restart, and forget their scripts. The TTL is such that what
// is left behind is found.
func TestStress_CancelledAttemptsLeaveNothing(t *testing.T) {
	onNodesAlone(t, 5, func(t *testing.T, r *rig) {
		var won atomic.Int64
		var clusters []*nodeset.Set
		var workers sync.WaitGroup
		for range 3 {
			clusters = append(clusters, r.open(impatient))
		}
		ctx, cancel := context.WithTimeout(context.Background(), stressTime)
		defer cancel()
		for _, c := range clusters {
			red := r.redlock(c, Config{TTL: 60 * time.Second})
			for range 4 {
				workers.Go(func() {
					for ctx.Err() == nil {
						short, cancel := context.WithTimeout(ctx, rand.N(6*time.Millisecond<<rand.IntN(5)))
						if h, err := red.Acquire(short, fmt.Sprint(rand.IntN(stressKeys)), Request{}); err == nil {
							won.Add(1)
							if rand.IntN(2) == 0 {
								h.Extend(h.TTL(), func(Verdict) {})
							}
							if rand.IntN(2) == 0 {
								h.Abort(errors.New("for a test"))
							}
							_ = h.Release(short)
						}
						cancel()
						wait(ctx, rand.N(2*time.Millisecond)) // nodes that are down refuse at once
					}
				})
			}
		}
		hurt := harness.Async(func() error {
			for i := 0; ; i++ {
				r.Pause(i % 5)
				_ = r.Clients[(i+1)%5].ScriptFlush(context.Background()).Err() // it may just be restarting
				if i%8 == 2 {
					if err := r.Restart(3, false); err != nil {
						return err
					}
				}
				wait(ctx, rand.N(250*time.Millisecond))
				r.Resume(i % 5)
				if wait(ctx, rand.N(50*time.Millisecond)) {
					return nil
				}
			}
		})
		workers.Wait()
		if err := harness.Receive(t, "the end of the faults", hurt); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d holds", won.Load())
		for _, c := range clusters {
			harness.Eventually(t, "all nodes are up", func() bool {
				for _, s := range c.Status() {
					if !s.Up {
						return false
					}
				}
				return true
			})
		}
		for k := range stressKeys {
			harness.Eventually(t, "no key is left", func() bool { return len(r.Having(fmt.Sprintf("lock:%d", k))) == 0 })
		}
	})
}
