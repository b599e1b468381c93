package keepalive

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// away is for how long a quorum is unreachable: many times what a command waits.
const away = 30 * time.Second

// waitFor waits for a lock, and gives it back.
type waitFor = func(ctx context.Context, s *Leases) error

// waits are the calls that wait for a lock.
var waits = map[string]waitFor{
	"Acquire": func(ctx context.Context, s *Leases) error {
		l, err := s.Acquire(ctx, "job")
		if err == nil {
			err = l.Release(ctx)
		}
		return err
	},
	"Campaign": func(ctx context.Context, s *Leases) error {
		l, err := s.Campaign(ctx, "boss", "me")
		if err == nil {
			err = l.Release(ctx)
		}
		return err
	},
	"RunOnce": func(ctx context.Context, s *Leases) error {
		ran, err := s.RunOnce(ctx, "job", func(context.Context) error { return nil })
		if err == nil && !ran {
			err = errors.New("the job did not run")
		}
		return err
	},
}

// eachWait runs fn for each way to wait, in virtual time, on three nodes that are
// reached through g.
func eachWait(t *testing.T, cfg Config, fn func(t *testing.T, g *gate, s *Leases, wait waitFor)) {
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				var g gate
				fn(t, &g, lease(t, newMemory(t, 3).open(t, &g), cfg), wait)
			})
		})
	}
}

func TestWait_OutlastsAQuorumThatIsAway(t *testing.T) {
	eachWait(t, Config{}, func(t *testing.T, g *gate, s *Leases, wait waitFor) {
		g.fail()
		done := make(chan error, 1)
		go func() { done <- wait(t.Context(), s) }()
		time.Sleep(away)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("without a quorum the wait ended: %v", err)
		default:
		}
		g.heal()
		must(t, harness.Receive(t, "the lock", done))
	})
}

func TestWait_WithoutAQuorumEndsWithItsContextAndSaysWhy(t *testing.T) {
	eachWait(t, Config{}, func(t *testing.T, g *gate, s *Leases, wait waitFor) {
		g.fail()
		ctx, cancel := context.WithTimeout(t.Context(), away)
		defer cancel()
		err := wait(ctx, s)
		if ctx.Err() == nil || !errors.Is(err, ErrNoQuorum) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotAcquired) {
			t.Errorf("it ended by %v", err)
		}
		g.heal() // so that what is open can be closed
	})
}

func TestWait_SurvivesConnectionsThatDiedSilently(t *testing.T) {
	eachWait(t, Config{}, func(t *testing.T, g *gate, s *Leases, wait waitFor) {
		must(t, waits["Acquire"](t.Context(), s))
		g.dropIdle()
		must(t, wait(t.Context(), s))
	})
}

func TestPersist_BeginsAgainWhileItIsInterrupted(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		few := &nodeset.QuorumError{Op: "read the record of", Key: "job"}
		tries := 0
		err := s.persist(t.Context(), "job", Request{}, func() error {
			if tries++; tries < 5 {
				return orInterrupted(few)
			}
			return nil
		})
		if err != nil || tries != 5 {
			t.Errorf("after %d tries: %v", tries, err)
		}
		for _, final := range []error{ErrNotAcquired, ErrClosed, nodeset.ErrConfig, errNoJob} {
			tries = 0
			err := s.persist(t.Context(), "job", Request{}, func() error { tries++; return orInterrupted(final) })
			if !errors.Is(err, final) || tries != 1 {
				t.Errorf("%v, after %d tries: %v", final, tries, err)
			}
		}
	})
}

func TestWait_APolicyThatStopsEndsAWaitForAQuorum(t *testing.T) {
	eachWait(t, Config{Backoff: func(int) time.Duration { return -1 }}, func(t *testing.T, g *gate, s *Leases, wait waitFor) {
		g.fail()
		if err := wait(t.Context(), s); !errors.Is(err, ErrNoQuorum) {
			t.Errorf("it ended by %v", err)
		}
		g.heal()
	})
}

func TestWait_EndsAtOnceOverWhatOnlyTheConfigurationCanChange(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	for _, c := range nodeClients(t, nodes) {
		must(t, c.RPush(t.Context(), "lock:job", "a list").Err())
	}
	_, err := lease(t, open(t, nodes, 0), Config{}).Acquire(t.Context(), "job")
	if err == nil || !strings.Contains(err.Error(), "cannot be locked") {
		t.Errorf("it ended by %v", err)
	}
}

func TestTryAcquire_WithoutAQuorumIsASingleAnswer(t *testing.T) {
	virtually(t, func(t *testing.T) {
		var g gate
		s := lease(t, newMemory(t, 3).open(t, &g), Config{})
		g.fail()
		if _, err := s.TryAcquire(t.Context(), "job"); !errors.Is(err, ErrNoQuorum) {
			t.Errorf("it ended by %v", err)
		}
		g.heal()
	})
}

// The key is acquired, and too few nodes answer when the last checkpoint is read.
func TestAcquire_OutlastsAQuorumThatIsAwayForTheCheckpoint(t *testing.T) {
	virtually(t, func(t *testing.T) {
		var g gate
		s := lease(t, newMemory(t, 3).open(t, &g), Config{})
		promise := "{lock:job}:record:promise"
		g.loses.Store(&promise)
		done := make(chan error, 1)
		go func() { done <- waits["Acquire"](t.Context(), s) }()
		time.Sleep(away)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("without a quorum for its checkpoint it ended: %v", err)
		default:
		}
		g.loses.Store(nil)
		must(t, harness.Receive(t, "the lease", done))
	})
}

// Waiting does not turn what is no record into one.
func TestAcquire_FailsAtOnceWhereItsCheckpointIsSomethingElse(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		for _, node := range nodes[:2] {
			must(t, node.Set("{lock:job}:record", "no record"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		_, err := s.Acquire(ctx, "job")
		if !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "{lock:job}:record") {
			t.Errorf("Acquire: %v", err)
		}
		if took := time.Since(began); took > time.Second { // of virtual time
			t.Errorf("it took %v", took)
		}
	})
}

// The wait is over within a step on the record: its timer is not the caller's
// context, and what was waited for is a quorum.
func TestWait_OverWithinAStepOnTheRecordIsAnErrorOfTheQuorum(t *testing.T) {
	const delay = 100 * time.Millisecond // of each request
	for name, wait := range map[string]func(ctx context.Context, s *Leases) error{
		"Acquire": func(ctx context.Context, s *Leases) error {
			_, err := s.Acquire(ctx, "job", Wait(delay*5/2))
			return err
		},
		"Campaign": func(ctx context.Context, s *Leases) error {
			_, err := s.Campaign(ctx, "job", "me", Wait(delay*5/2))
			return err
		},
		"RunOnce": func(ctx context.Context, s *Leases) error {
			_, err := s.RunOnce(ctx, "job", func(context.Context) error { return errors.New("it ran") }, Wait(delay/2))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				var g gate
				s := lease(t, newMemory(t, 3).open(t, &g), Config{})
				g.delay.Store(int64(delay))
				err := wait(t.Context(), s)
				if !errors.As(err, new(*nodeset.QuorumError)) || !strings.Contains(err.Error(), "record") || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("it ended by %v", err)
				}
			})
		})
	}
}
