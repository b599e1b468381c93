package keepalive

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestRunOnce_SucceedsOnceOverAllProcesses(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		var runs, said atomic.Int64
		var wg sync.WaitGroup
		for range 3 {
			s := lease(t, open(t, nodes, 0), Config{})
			for range 4 {
				wg.Go(func() {
					ran, err := s.RunOnce(context.Background(), "report", func(ctx context.Context) error {
						if _, ok := FromContext(ctx); !ok {
							t.Error("the job's context knows no lease")
						}
						runs.Add(1)
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					if ran {
						said.Add(1)
					}
				})
			}
		}
		wg.Wait()
		if runs.Load() != 1 || said.Load() != 1 {
			t.Errorf("it ran %d times, and %d calls say that they ran it", runs.Load(), said.Load())
		}
		s := lease(t, open(t, nodes, 0), Config{Owner: "looker"})
		o, ok, err := s.Outcome(t.Context(), "report")
		if err != nil || !ok || o.Job != "report" || o.Token == 0 || o.Owner == "" || o.Ended.Before(o.Began) {
			t.Errorf("the outcome is %+v, %v, %v", o, ok, err)
		}
		if _, ok, err := s.Outcome(t.Context(), "another"); ok || err != nil {
			t.Errorf("a job that never ran has an outcome (%v)", err)
		}
	})
}

func TestRunOnce_AFailedRunIsRetriedByTheNextCallerAtOnce(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		a, b := lease(t, open(t, nodes, 0), Config{}), lease(t, open(t, nodes, 0), Config{})
		bad := errors.New("bad")
		if ran, err := a.RunOnce(t.Context(), "job", func(context.Context) error { return bad }, MinHold(time.Hour)); !ran || err != bad {
			t.Fatalf("got %v, %v; want fn's own error, unchanged", ran, err)
		}
		if ran, err := b.RunOnce(t.Context(), "job", func(context.Context) error { return nil }); !ran || err != nil {
			t.Errorf("the retry: %v, %v", ran, err)
		}
		if ran, err := a.RunOnce(t.Context(), "job", func(context.Context) error { t.Error("it runs again"); return nil }); ran || err != nil {
			t.Errorf("after success: %v, %v", ran, err)
		}
	})
}

func TestRunOnce_APanicReleases(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	s := lease(t, open(t, nodes, 0), Config{})
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic did not go on")
			}
		}()
		s.RunOnce(t.Context(), "job", func(context.Context) error { panic("boom") })
	}()
	if ran, err := s.RunOnce(t.Context(), "job", func(context.Context) error { return nil }); !ran || err != nil {
		t.Errorf("after the panic: %v, %v", ran, err)
	}
}

func TestRunOnce_MinHoldDelaysTheNextRun(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	s := lease(t, open(t, nodes, 0), Config{DoneTTL: time.Second})
	if ran, err := s.RunOnce(t.Context(), "job", func(context.Context) error { return nil }, MinHold(time.Hour)); !ran || err != nil {
		t.Fatal(ran, err)
	}
	harness.Eventually(t, "it is forgotten that the job is done", func() bool { _, ok, err := s.Outcome(t.Context(), "job"); return err == nil && !ok })
	other := lease(t, open(t, nodes, 0), Config{})
	harness.Eventually(t, "the other to be refused", func() bool { // one node may forget it a moment after a quorum
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		ran, err := other.RunOnce(ctx, "job", func(context.Context) error { t.Error("it ran"); return nil })
		if ran || err != nil && !errors.Is(err, ErrNotAcquired) {
			t.Fatalf("got %v, %v", ran, err)
		}
		return err != nil
	})
}

func TestLeases_Close_WaitsForARunAndItsRecord(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		begun := make(chan struct{})
		type outcome struct {
			ran bool
			err error
		}
		first := make(chan outcome, 1)
		go func() {
			ran, err := s.RunOnce(t.Context(), "job", func(context.Context) error {
				close(begun)
				time.Sleep(time.Minute) // it does not listen to its context
				return nil
			})
			first <- outcome{ran, err}
		}()
		<-begun
		go s.Close(t.Context())
		ran, err := other.RunOnce(t.Context(), "job", func(context.Context) error {
			t.Error("it was run twice")
			return nil
		})
		if ran || err != nil {
			t.Errorf("the other: %t, %v", ran, err)
		}
		if o := <-first; !o.ran || o.err != nil {
			t.Errorf("the first: %+v", o)
		}
	})
}

func TestRunOnce_MaxHoldEndsAStuckRunAndTheNextCallRuns(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		stuck := make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := s.RunOnce(t.Context(), "job", func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Hour) // it is slow to hear of it, and then says that it succeeded
				return nil
			}, MaxHold(time.Minute))
			stuck <- err
		}()
		synctest.Wait()
		ran, err := other.RunOnce(t.Context(), "job", func(context.Context) error { return nil })
		if waited := time.Since(began); !ran || err != nil || waited < time.Minute || waited > time.Minute+2*s.Config().TTL {
			t.Errorf("the next call: %t, %v, after %v", ran, err, waited)
		}
		if err := <-stuck; !errors.Is(err, ErrLost) {
			t.Errorf("the stuck run: %v", err)
		}
	})
}

func TestRunOnce_OfADoneJobDoesNotProlongItsRecord(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		const done = 10 * time.Minute
		s, other := lease(t, nodes.open(t, &gate{}), Config{DoneTTL: done}), lease(t, nodes.open(t, &gate{}), Config{DoneTTL: done})
		asked := make(chan error, 1)
		ran, err := s.RunOnce(t.Context(), "job", func(context.Context) error {
			go func() { // it waits for the key, and finds that the job is done
				_, err := other.RunOnce(t.Context(), "job", func(context.Context) error { t.Error("it runs again"); return nil })
				asked <- err
			}()
			time.Sleep(time.Minute)
			return nil
		}, MinHold(done-time.Minute))
		if !ran || err != nil {
			t.Fatal(ran, err)
		}
		if err := <-asked; err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Minute)
		if ran, err := s.RunOnce(t.Context(), "job", func(context.Context) error { return nil }); !ran || err != nil {
			t.Errorf("after DoneTTL: %t, %v", ran, err)
		}
	})
}
