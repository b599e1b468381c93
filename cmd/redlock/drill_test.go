package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// A drill stops the nodes that it names, for as long as it says, and loses no
// lock.
func TestDrill_AMinorityStopsAndGoesOnByItself(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		held, err := newLocker(t, s.URLs()).Lock(t.Context(), "order:42")
		if err != nil {
			t.Fatal(err)
		}
		defer held.Release(context.Background())
		stopped := names(s.URLs())[1]
		p := launch(t, s.URLs(), "drill", "--yes", "--for", "2s", stopped)
		p.exit(0)
		p.prints(`acquiring and releasing redlock-drill-\w+ for 2s first`, stopped+` answers nobody for 2s`, stopped+` found down`, stopped+` found up`, `(?m)^during +\d`, `(?m)^after +[1-9]`,
			`1 lock of others was held before; 1 is held by the same holder after`, `No lock of the drill was refused`)
		began := time.Now()
		if err := harness.Client(t, s, 1).Ping(t.Context()).Err(); err != nil {
			harness.Must(t, began, err)
		}
		if held.Context().Err() != nil {
			harness.Missed(t, began, "the lock of another was lost: %v", context.Cause(held.Context()))
		}
	})
}

// A drill without a quorum fails, after its report.
func TestDrill_ALockThatIsRefusedFailsIt(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	p := launch(t, s.URLs(), "drill", "--yes", "--for", "6s", names(s.URLs())[1])
	p.stdout.line(t, "answers nobody for 6s")
	s.Stop(2)
	p.exit(exitFailure)
	p.prints(`(?m)^during .* [1-9]\d*$`, `held before`, `locks were refused: .*no quorum`)
	p.hides("No lock of the drill was refused")
}

func TestDrill_ANodeThatDoesNotRecoverFailsIt(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	c := open(t, s.URLs())
	locker, err := lock.New(c, lock.Config{})
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, locker)
	d := newDrill(&view{c, locker})
	d.patience = 0
	worked := harness.Async(func() error { d.work(t.Context()); return nil })
	ended := harness.Async(func() error {
		return (&drillCmd{For: time.Second}).practise(t.Context(), d, face.In[*cluster.Cluster](c).Nodes()[1:2])
	})
	harness.Eventually(t, "the pause", func() bool { return s.Commands(1)["client|pause"] > 0 })
	s.Stop(1)
	err = harness.Receive(t, "the end of the drill", ended)
	d.stop()
	_ = harness.Receive(t, "the end of its work", worked)
	if want := "node " + c.Status()[1].Node + ": does not vote 0s after its pause has ended"; err == nil || !strings.Contains(err.Error(), want) || !d.paused() {
		t.Errorf("it ends with %v, want %q", err, want)
	}
}

func TestDrill_RefusesWhatWouldStopAllLocks(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	all := names(s.URLs())
	pauses := func() (n int64) {
		for i := range s.Len() {
			n += s.Commands(i)["client|pause"]
		}
		return n
	}
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"drill"}, exitUsage, `--yes: is missing`},
		{[]string{"drill", "--yes", all[0], all[1]}, exitNoQuorum, `1 node votes, and a quorum is 2`},
		{[]string{"drill", "--yes", "elsewhere:1"}, exitUsage, `elsewhere:1: is not one of the nodes`},
		{[]string{"drill", "--yes", "--for", "2m"}, exitUsage, `from 1s to 60s`},
	} {
		p := launch(t, s.URLs(), tt.args...)
		p.exit(tt.code)
		p.prints(tt.says)
	}
	s.Stop(0)
	p := launch(t, s.URLs(), "drill", "--yes")
	p.exit(exitNoQuorum)
	p.prints(`1 node votes, and a quorum is 2`)
	s.Stop(1)
	if n := pauses(); n != 0 {
		t.Errorf("%d nodes were stopped", n)
	}
}
