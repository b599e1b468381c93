package gocron_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	scheduler "github.com/go-co-op/gocron/v2"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/contrib/gocron"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/lease"
)

// process is what one of several processes has.
func process(t *testing.T, nodes *embedded.Nodes) *lease.Leases {
	t.Helper()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: nodes.URLs()})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := lease.New(c, lease.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		leases.Close(context.Background())
		c.Close(context.Background())
	})
	return leases
}

func start(t *testing.T) *embedded.Nodes {
	t.Helper()
	nodes, err := embedded.Start(3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nodes.Close)
	return nodes
}

// schedule makes a scheduler that runs one job once, now, and starts it.
func schedule(t *testing.T, job func(), how scheduler.SchedulerOption) {
	t.Helper()
	s, err := scheduler.NewScheduler(how)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown() })
	if _, err := s.NewJob(scheduler.OneTimeJob(scheduler.OneTimeJobStartImmediately()),
		scheduler.NewTask(job), scheduler.WithName("report")); err != nil {
		t.Fatal(err)
	}
	s.Start()
}

func TestLockerRunsAJobInOneOfThreeSchedulers(t *testing.T) {
	nodes := start(t)
	var runs atomic.Int64
	var asked atomic.Int64
	all := make(chan struct{})
	for range 3 {
		k := gocron.NewLocker(process(t, nodes), time.Minute)
		schedule(t, func() { runs.Add(1) }, scheduler.WithDistributedLocker(watched{k, func() {
			if asked.Add(1) == 3 {
				close(all)
			}
		}}))
	}
	<-all
	if n := runs.Load(); n > 1 {
		t.Errorf("the job ran %d times", n)
	}
	eventually(t, func() bool { return runs.Load() == 1 })
}

// watched says when a scheduler has asked for a run.
type watched struct {
	scheduler.Locker
	asked func()
}

func (w watched) Lock(ctx context.Context, key string) (scheduler.Lock, error) {
	defer w.asked()
	return w.Locker.Lock(ctx, key)
}

func TestElectorRunsJobsInTheProcessThatLeads(t *testing.T) {
	nodes := start(t)
	first := gocron.NewElector(process(t, nodes), "schedules", "first")
	eventually(t, func() bool { return first.IsLeader(t.Context()) == nil })
	observer := process(t, nodes)
	leads := func(candidate string) bool {
		leader, ok, err := observer.Leader(t.Context(), "schedules")
		return err == nil && ok && leader.Candidate == candidate
	}
	if !leads("first") { // in the election in which the second is a candidate as well
		t.Error("the first does not lead the election of its name")
	}
	second := gocron.NewElector(process(t, nodes), "schedules", "second")
	defer second.Close()
	if err := second.IsLeader(t.Context()); !errors.Is(err, gocron.ErrNotLeader) {
		t.Errorf("two lead: %v", err)
	}
	ran := make(chan string, 2)
	schedule(t, func() { ran <- "first" }, scheduler.WithDistributedElector(first))
	schedule(t, func() { ran <- "second" }, scheduler.WithDistributedElector(second))
	if who := <-ran; who != "first" {
		t.Errorf("%s ran the job", who)
	}
	first.Close()
	eventually(t, func() bool { return second.IsLeader(t.Context()) == nil && leads("second") })
	if err := first.IsLeader(t.Context()); !errors.Is(err, gocron.ErrNotLeader) {
		t.Errorf("the one that resigned leads still: %v", err)
	}
}

func TestWhatCannotBeLockedOrLedIsRefused(t *testing.T) {
	leases := process(t, start(t))
	if _, err := gocron.NewLocker(leases, 0).Lock(t.Context(), ""); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("a job without a name: %v", err)
	}
	if _, err := gocron.NewLocker(leases, -time.Second).Lock(t.Context(), "job"); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "splay") {
		t.Errorf("a negative splay: %v", err)
	}
	for name, candidate := range map[string]string{"": "host", "schedules": ""} {
		e := gocron.NewElector(leases, name, candidate)
		eventually(t, func() bool {
			err := e.IsLeader(t.Context())
			return errors.Is(err, gocron.ErrNotLeader) && errors.Is(err, cluster.ErrConfig)
		})
		e.Close()
	}
}

// eventually waits until cond holds, looking again and again, or the test's patience is over.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it did not come about")
		}
	}
}

func ExampleNewLocker() {
	ctx := context.Background()
	nodes, _ := embedded.Start(3)
	defer nodes.Close()
	c, _ := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs()})
	defer c.Close(ctx)
	leases, _ := lease.New(c, lease.Config{})
	defer leases.Close(ctx)

	s, _ := scheduler.NewScheduler(scheduler.WithDistributedLocker(gocron.NewLocker(leases, 30*time.Second)))
	defer s.Shutdown()
	done := make(chan struct{})
	s.NewJob(scheduler.OneTimeJob(scheduler.OneTimeJobStartImmediately()),
		scheduler.NewTask(func() { fmt.Println("report written"); close(done) }), scheduler.WithName("report"))
	s.Start()
	<-done
	// Output: report written
}
