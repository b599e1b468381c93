package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

// resizeMaxTTL makes a resize wait about three seconds when it waits for every lock to expire.
const resizeMaxTTL = 2 * time.Second

// resizedFleet is a program that locks one key again and again while its set is resized.
type resizedFleet struct {
	t      *testing.T
	held   atomic.Int32
	locked atomic.Int64
	end    func()
}

func startFleet(t *testing.T, urls []string) *resizedFleet {
	w := &resizedFleet{t: t}
	w.end = w.begin(urls)
	t.Cleanup(func() { w.end() })
	return w
}

// begin runs the program with a list, and returns a function that ends it.
func (w *resizedFleet) begin(urls []string) (end func()) {
	began := time.Now()
	c, err := cluster.Open(context.Background(), cluster.Config{URLs: urls, MaxTTL: resizeMaxTTL, Logger: newLogger(true, false)})
	harness.Must(w.t, began, err)
	locker, err := lock.New(c, lock.Config{TTL: resizeMaxTTL})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			_ = locker.WithLock(ctx, "order:42", func(context.Context) error {
				if w.held.Add(1) > 1 {
					w.t.Error("two processes hold the key")
				}
				w.locked.Add(1)
				w.held.Add(-1)
				return nil
			})
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		done.Wait()
		_ = locker.Close(context.Background())
		_ = c.Close(context.Background())
	})
}

// roll restarts the program with another list: the new process begins before the old one ends, as in a rolling restart.
func (w *resizedFleet) roll(urls []string) {
	end := w.begin(urls)
	w.end()
	w.end = end
}

// works waits until the program has locked the key again.
func (w *resizedFleet) works() {
	w.t.Helper()
	n := w.locked.Load()
	harness.Eventually(w.t, "the program to lock", func() bool { return w.locked.Load() > n })
}

// asked waits until the resize asks for the new list, and rolls the program.
func (w *resizedFleet) asked(p *program, to ...string) {
	w.t.Helper()
	p.stdout.line(w.t, fmt.Sprintf("Give all programs the new list, %d nodes with a quorum of %d", len(to), len(to)/2+1))
	p.stdout.line(w.t, fmt.Sprintf(":%d (list ", os.Getpid())) // the program, on a line of its own
	w.works()
	w.roll(to)
}

// resizeSet makes the first n nodes a set.
func resizeSet(t *testing.T, n, spare int) (harness.Set, []string) {
	t.Helper()
	s := harness.Embedded(t, n+spare)
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs()[:n], MaxTTL: resizeMaxTTL, NodeTimeout: resizeMaxTTL / 4, Logger: newLogger(true, false)})
	harness.Must(t, began, err)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, s.URLs()
}

func resize(t *testing.T, urls []string, args ...string) *program {
	t.Helper()
	return launch(t, urls, append([]string{"resize", "--max-ttl", resizeMaxTTL.String()}, args...)...)
}

// steps checks that the program printed lines that begin with these texts, in this order.
func (p *program) steps(begin ...string) {
	p.t.Helper()
	rest := begin
	for line := range strings.Lines(p.stdout.String()) {
		if len(rest) > 0 && strings.Contains(line, rest[0]) {
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		p.wrong("no line %q where it should be:\n%s%s", rest[0], p.stdout, p.stderr)
	}
}

func TestResize_AddsAndRemovesWhileAProgramLocks(t *testing.T) {
	t.Parallel()
	s, u := resizeSet(t, 3, 1)
	w := startFleet(t, u[:3])
	p := resize(t, u[:3], "--add", u[3])
	w.asked(p, u...)
	p.exit(0)
	p.steps("Proposing 4 nodes with a quorum of 3", "Both lists are now in effect", "Waiting until all nodes of the new list vote", "Give all programs the new list",
		"No program with the old list is connected", "Only the new list is now in effect", "The set has 4 nodes")
	w.works()

	p = resize(t, u, "--remove", names(u)[0])
	w.asked(p, u[1:]...)
	p.exit(0)
	p.steps("until every lock from before the last change has expired", "Proposing 3 nodes with a quorum of 2", "Both lists are now in effect",
		"Give all programs the new list", "Only the new list is now in effect", "The set has 3 nodes")
	s.Stop(0)
	w.works()

	for _, args := range [][]string{{"--add", u[3]}, {}} { // already done
		p = resize(t, u[1:], args...)
		p.exit(0)
		p.steps("The set has 3 nodes")
	}
}

func TestResize_ReplacesWhileAProgramLocks(t *testing.T) {
	t.Parallel()
	_, u := resizeSet(t, 3, 1)
	w := startFleet(t, u[:3])
	p := resize(t, u[:3], "--replace", names(u)[1], u[3])
	w.asked(p, u[0], u[2])
	p.stdout.line(t, "The set has 2 nodes")
	w.asked(p, u[0], u[2], u[3])
	p.exit(0)
	p.steps("Proposing 2 nodes", "Both lists are now in effect", "Give all programs the new list, 2 nodes", "The set has 2 nodes",
		"until every lock from before the last change has expired", "Proposing 3 nodes", "Give all programs the new list, 3 nodes", "The set has 3 nodes")
	w.works()
}

// The user can force the removal of a destroyed node, and can skip the wait for programs.
func TestResize_RemovesANodeThatIsGoneByForce(t *testing.T) {
	t.Parallel()
	s, u := resizeSet(t, 3, 0)
	w := startFleet(t, u)
	s.Stop(2)
	before := markTexts(t, s, 0, 1)
	p := resize(t, u, "--remove", names(u)[2])
	p.exit(exitFailure)
	p.prints(`cannot continue without `+names(u)[2], `--gone`)
	unchanged(t, before, markTexts(t, s, 0, 1))
	p = resize(t, u, "--remove", names(u)[2], "--gone", "--force")
	p.exit(0)
	p.steps("Both lists are now in effect", "Not looking for programs with the old list", "The set has 2 nodes")
	w.roll(u[:2])
	w.works()
}

// A node that answers late does not end a waiting resize.
func TestResize_WaitsForANodeThatIsSlowToAnswer(t *testing.T) {
	t.Parallel()
	s, u := resizeSet(t, 3, 0)
	w := startFleet(t, u)
	p := resize(t, u, "--remove", names(u)[0], "--max-ttl", "60s")
	p.stdout.line(t, "Give all programs the new list")
	s.Pause(1)
	p.stdout.line(t, "Waiting for an answer from "+names(u)[1]+", for 1m16s at most")
	s.Resume(1)
	w.asked(p, u[1:]...)
	p.exit(0)
	p.steps("The set has 2 nodes")
}

func TestResize_RefusesProgramsWhoseLocksOutlastItsWaits(t *testing.T) {
	t.Parallel()
	s, u := resizeSet(t, 3, 1)
	startFleet(t, u[:3])
	before := markTexts(t, s, 0, 1, 2, 3)
	refused(t, u[:3], exitUsage, `--max-ttl: 1s is less than the MaxTTL of .*:`+fmt.Sprint(os.Getpid())+` \(.*\), 2s`, "--add", u[3], "--force", "--max-ttl", "1s")
	unchanged(t, before, markTexts(t, s, 0, 1, 2, 3))
}

// Before a resize changes anything, it checks that it may read the lists of the programs.
func TestResize_WithoutTheRightToSeeProgramsChangesNothing(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 2, redisserver.Options{})
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs()[:1], MaxTTL: resizeMaxTTL, Logger: newLogger(true, false)})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	var limited []string
	for i, u := range s.URLs() {
		rules := append([]any{"ACL", "SETUSER", "app", "on", ">pw"}, aclWords(cluster.ACL("", false))...)
		if err := harness.Client(t, s, i).Do(t.Context(), rules...).Err(); err != nil {
			t.Fatal(err)
		}
		limited = append(limited, strings.Replace(u, "//", "//app:pw@", 1))
	}
	before := markTexts(t, s, 0, 1)
	refused(t, limited[:1], exitFailure, `does not report which programs have which list: NOPERM.*\+client\|list`, "--add", limited[1])
	unchanged(t, before, markTexts(t, s, 0, 1))
}

// killed runs a resize that is killed when it announces a step, before it takes it.
func killed(t *testing.T, urls []string, add, remove, at string) {
	t.Helper()
	done := harness.Async(func() error {
		over := make(chan error, 1)
		go func() {
			defer close(over)
			tool, err := nodeset.NewResize(nodeset.Config{URLs: urls, MaxTTL: resizeMaxTTL}, add, remove, func(format string, args ...any) {
				if strings.HasPrefix(fmt.Sprintf(format, args...), at) {
					runtime.Goexit()
				}
			})
			if err != nil {
				over <- err
				return
			}
			defer tool.Close()
			if err := tool.Run(context.Background()); err != nil {
				over <- err
				return
			}
			over <- fmt.Errorf("it never printed %q", at)
		}()
		return <-over
	})
	if err := harness.Receive(t, "the resize to be killed", done); err != nil {
		t.Fatal(err)
	}
}

func TestResize_TakesBackWhatWasProposed(t *testing.T) {
	t.Parallel()
	s, u := resizeSet(t, 3, 1)
	before := markTexts(t, s, 0, 1, 2)
	killed(t, u[:3], u[3], "", "Both lists are now in effect")
	proposed := markTexts(t, s, 0, 1, 2)
	refused(t, u[:3], exitUsage, `--cancel, --alone: give both`, "--cancel")
	refused(t, u[:3], exitFailure, `another resize has been proposed, to 4 nodes .*--cancel --alone`, "--remove", names(u)[0])
	unchanged(t, proposed, markTexts(t, s, 0, 1, 2))
	doctor := launch(t, u[:3], "doctor")
	doctor.exit(0)
	advice := strings.Fields(regexp.MustCompile(`redlock resize( --[a-z]+)+`).FindString(doctor.stdout.String()))
	if len(advice) < 2 {
		t.Fatalf("it does not say how to withdraw the proposal: %s", doctor.stdout)
	}
	p := resize(t, u[:3], advice[2:]...)
	p.exit(0)
	p.steps("The proposal is taken back")
	unchanged(t, before, markTexts(t, s, 0, 1, 2))
	p = resize(t, u[:3], "--cancel", "--alone")
	p.exit(0)
	p.steps("Nothing was proposed")

	killed(t, u[:3], "", names(u)[0], "No program with the old list")
	joint := markTexts(t, s, 0, 1, 2)
	refused(t, u[:3], exitFailure, `is already in effect; finish it with redlock resize`, "--cancel", "--alone")
	refused(t, u[:3], exitFailure, `another resize is in progress, from 3 nodes .* to 2 nodes .*finish it first`, "--add", u[3])
	unchanged(t, joint, markTexts(t, s, 0, 1, 2))
	p = resize(t, u[:3])
	p.exit(0)
	p.steps("The set has 2 nodes")
}

func TestResize_GoesOnWithANodeThatRestartedAndNoProgramLists(t *testing.T) {
	t.Parallel()
	s, u := resizeSet(t, 3, 1)
	restart := func(i int) {
		t.Helper()
		if err := s.Restart(i, false); err != nil {
			t.Fatal(err)
		}
	}
	killed(t, u[:3], u[3], "", "No program with the old list")
	restart(3) // the programs have the old list
	p := resize(t, u)
	p.exit(0)
	p.steps("Waiting until all nodes of the new list vote", "The set has 4 nodes")

	killed(t, u, "", names(u)[3], "No program with the old list")
	restart(3) // the programs have the new list
	p = resize(t, u, "--remove", names(u)[3])
	p.exit(0)
	p.steps("The set has 3 nodes")

	restart(3) // the node is in no set
	p = resize(t, u[:3], "--add", u[3])
	p.exit(0)
	p.steps("The set has 4 nodes")
}

func refused(t *testing.T, urls []string, code int, says string, args ...string) {
	t.Helper()
	p := resize(t, urls, args...)
	p.exit(code)
	p.prints(says)
}

func TestResize_RefusesAndChangesNothing(t *testing.T) {
	t.Parallel()
	s, u := resizeSet(t, 2, 2)
	before := markTexts(t, s, 0, 1, 2, 3)
	for _, tt := range []struct {
		code int
		says string
		args []string
	}{
		{exitUsage, `--remove: elsewhere:1 is not one of the nodes .*redlock nodes lists`, []string{"--remove", "elsewhere:1"}},
		{exitUsage, `--remove: elsewhere:1 is not one of the nodes`, []string{"--replace", "elsewhere:1", u[2]}},
		{exitUsage, `--add and --remove can't be used together`, []string{"--add", u[2], "--remove", names(u)[0]}},
		{exitUsage, `--add, --remove: change one node at a time.* need not share a node`, []string{"--add", u[2], "--add", u[3]}},
		{exitUsage, `--add, --remove: change one node at a time`, []string{"--remove", names(u)[0], "--remove", names(u)[1]}},
		{exitUsage, `--add: `, []string{"--add", "nothing"}},
		{exitUsage, `--replace NODE URL: give both`, []string{"--replace", names(u)[0]}},
		{exitUsage, `--gone: .*--remove`, []string{"--gone"}},
		{exitUsage, `--cancel, --alone: give both`, []string{"--alone"}},
		{exitUsage, `--cancel, --force: give one`, []string{"--cancel", "--alone", "--force"}},
		{exitUsage, `--max-ttl 10ms: must be at least 1s`, []string{"--max-ttl", "10ms"}},
		{exitUsage, `--records -1s: must be at least 0s`, []string{"--records=-1s"}},
		{exitUsage, `--quorum 2: leave it out`, []string{"--quorum", "2", "--add", u[2]}},
		{exitUsage, `--quorum 0: leave it out`, []string{"--quorum", "0", "--add", u[2]}},
	} {
		refused(t, u[:2], tt.code, tt.says, tt.args...)
	}
	refused(t, u[2:3], exitFailure, `do not form a set yet; start a program`, "--add", u[3])
	unchanged(t, before, markTexts(t, s, 0, 1, 2, 3))
	s.Stop(1)
	before = markTexts(t, s, 0, 2, 3)
	refused(t, u[:2], exitFailure, `cannot continue without `+names(u)[1]+`: all nodes must have the last size`, "--add", u[2])
	refused(t, u[:2], exitFailure, `of the nodes of the old list 1 answer, and its quorum is 2; start the node`, "--remove", names(u)[1], "--gone")
	unchanged(t, before, markTexts(t, s, 0, 2, 3))
}

// markTexts returns the nodes' marks of their set.
func markTexts(t *testing.T, s harness.Set, nodes ...int) (all []string) {
	t.Helper()
	on := harness.Inspect(t, s)
	for _, i := range nodes {
		all = append(all, on.Get(i, marks.Key))
	}
	return all
}

func unchanged(t *testing.T, before, after []string) {
	t.Helper()
	if got, want := strings.Join(after, "\n"), strings.Join(before, "\n"); got != want {
		t.Errorf("the nodes have changed from\n%s\nto\n%s", want, got)
	}
}
