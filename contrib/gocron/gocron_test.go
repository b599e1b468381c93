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
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/contrib/gocron"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

func TestMain(m *testing.M) { harness.Main(m) }

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

func TestLocker_RunsAJobInOneOfThreeSchedulers(t *testing.T) {
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
	harness.Eventually(t, "the job to run", func() bool { return runs.Load() == 1 })
}

// TestLocker_TriesAgainWhileVotesAreSplit has each node keep the key for another process that has no majority either: nobody
// would run this tick if one refusal were all that a scheduler listens to.
func TestLocker_TriesAgainWhileVotesAreSplit(t *testing.T) {
	nodes := start(t)
	k := gocron.NewLocker(process(t, nodes), 0)
	var others []*redis.Client
	for i := range nodes.Len() {
		others = append(others, harness.Client(t, nodes, i))
	}
	for range 20 {
		for i, c := range others {
			if err := c.Set(t.Context(), "lock:gocron:report", fmt.Sprint("process ", i), 10*time.Millisecond).Err(); err != nil {
				t.Fatal(err)
			}
		}
		held, err := k.Lock(t.Context(), "report")
		if err != nil {
			t.Fatal(err)
		}
		if err := held.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
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

func TestElector_RunsJobsInTheLeadingProcess(t *testing.T) {
	nodes := start(t)
	first := gocron.NewElector(process(t, nodes), "schedules", "first")
	harness.Eventually(t, "the first to lead", func() bool { return first.IsLeader(t.Context()) == nil })
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
	harness.Eventually(t, "the second to lead", func() bool { return second.IsLeader(t.Context()) == nil && leads("second") })
	if err := first.IsLeader(t.Context()); !errors.Is(err, gocron.ErrNotLeader) {
		t.Errorf("the one that resigned leads still: %v", err)
	}
}

func TestNew_RefusesWhatCannotBeLockedOrLed(t *testing.T) {
	leases := process(t, start(t))
	if _, err := gocron.NewLocker(leases, 0).Lock(t.Context(), ""); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("a job without a name: %v", err)
	}
	if _, err := gocron.NewLocker(leases, -time.Second).Lock(t.Context(), "job"); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "splay") {
		t.Errorf("a negative splay: %v", err)
	}
	for name, candidate := range map[string]string{"": "host", "schedules": ""} {
		e := gocron.NewElector(leases, name, candidate)
		harness.Eventually(t, "the campaign to be refused", func() bool {
			err := e.IsLeader(t.Context())
			return errors.Is(err, gocron.ErrNotLeader) && errors.Is(err, cluster.ErrConfig)
		})
		e.Close()
	}
}

func TestErrors_BeginWithThePrefixOnce(t *testing.T) {
	nodes := start(t)
	leases := process(t, nodes)
	e := gocron.NewElector(leases, "schedules", "first")
	defer e.Close()
	once := func(what string, want error) {
		var err error
		harness.Eventually(t, what, func() bool { err = e.IsLeader(t.Context()); return errors.Is(err, want) })
		if !errors.Is(err, gocron.ErrNotLeader) || strings.Count(err.Error(), "redlock: ") != 1 {
			t.Errorf("%s: want the prefix once: %v", what, err)
		}
	}
	nodes.Stop(0)
	nodes.Stop(1)
	once("the campaign to find no quorum", lease.ErrNoQuorum)
	leases.Close(t.Context())
	once("the campaign to fail", lease.ErrClosed)
}

type worker struct{}

func (worker) work() {}

func plain() {}

// closure makes functions that share a name.
func closure(n *atomic.Int64) func() { return func() { n.Add(1) } }

// Jobs that were given no name would be one for the locker: gocron names them after their functions.
func TestLocker_RefusesJobsWithoutAName(t *testing.T) {
	leases := process(t, start(t))
	k := gocron.NewLocker(leases, time.Minute)
	refused := make(chan error, 16)
	s, err := scheduler.NewScheduler(scheduler.WithDistributedLocker(spied{k, refused}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown() })
	var ran atomic.Int64
	jobs := []any{closure(&ran), closure(&ran), closure(&ran), worker{}.work, plain, func() {}}
	for _, job := range jobs {
		if _, err := s.NewJob(scheduler.OneTimeJob(scheduler.OneTimeJobStartImmediately()), scheduler.NewTask(job)); err != nil {
			t.Fatal(err)
		}
	}
	s.Start()
	for range jobs {
		if err := <-refused; !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "WithName") {
			t.Errorf("a job without a name: %v", err)
		}
	}
	if n := ran.Load(); n > 0 {
		t.Errorf("%d of them ran", n)
	}
	for _, name := range []string{"main.report", "main.main.func1", "main.(*T).Do", "example.com/a/b.Do", "b.Do[...].func2.1", "b.f.func1-range1", "b.T.Do-fm"} {
		if _, err := k.Lock(t.Context(), name); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The last two are those of plain functions of packages whose path has no slash: nothing tells them from a name.
	for _, name := range []string{"report", "nightly.report", "reports/nightly", "send e-mail", "func1", "v1.2", "mail to a/b.", "maintenance.run", "fmt.Println"} {
		l, err := k.Lock(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		l.Unlock(t.Context())
	}
}

// spied says what a scheduler was answered.
type spied struct {
	scheduler.Locker
	errs chan error
}

func (s spied) Lock(ctx context.Context, key string) (scheduler.Lock, error) {
	l, err := s.Locker.Lock(ctx, key)
	s.errs <- err
	return l, err
}

// A tick that meets the hold of a run that began late is skipped, and does not wait; the lock is free when the splay is over.
func TestLocker_SkipsATickDuringThePreviousRun(t *testing.T) {
	nodes := start(t)
	one, other := gocron.NewLocker(process(t, nodes), time.Second), gocron.NewLocker(process(t, nodes), time.Second)
	began := time.Now()
	late, err := one.Lock(t.Context(), "report")
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = other.Lock(t.Context(), "report")
	if time.Since(began) < time.Second && !errors.Is(err, lease.ErrNotAcquired) {
		t.Errorf("the tick during the hold: %v, want it skipped", err)
	}
	harness.Eventually(t, "the lock to be free", func() bool {
		next, err := other.Lock(t.Context(), "report")
		return err == nil && next.Unlock(t.Context()) == nil
	})
	if held := time.Since(began); held < time.Second {
		t.Errorf("the lock was free after %v", held)
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
