package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

// Each command takes at most a few node time-outs longer than on a healthy set,
// and names the nodes that did not answer.
func TestOperatorCommands_NameAStoppedAndAFrozenNode(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 5, redisserver.Options{})
	locker := newLocker(t, s.URLs())
	l, err := locker.Lock(t.Context(), "order:42", lock.Owner("nightly"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(context.Background())
	commands := [][]string{{"ls"}, {"inspect", "order:42"}, {"nodes"}, {"doctor"}, {"top"}}
	healthy := make([]time.Duration, len(commands))
	for i, args := range commands {
		var p *program
		healthy[i], p = timed(t, s.URLs(), 0, args...)
		if out := p.stdout.String(); strings.Contains(out, "does not answer") || p.stderr.String() != "" {
			p.wrong("%q on a healthy set:\n%s%s", args, out, p.stderr)
		}
	}
	s.Stop(1)
	s.Pause(3)
	nodes := names(s.URLs())
	for i, args := range commands {
		took, p := timed(t, s.URLs(), 0, args...)
		out := p.stdout.String()
		for _, lost := range []int{1, 3} {
			if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
				return strings.Contains(line, nodes[lost]) && !strings.Contains(line, " up ")
			}) {
				p.wrong("%q does not say that node %s is lost:\n%s", args, nodes[lost], out)
			}
		}
		if args[0] != "nodes" && args[0] != "doctor" && (!strings.Contains(out, "order:42") || !strings.Contains(out, "nightly (")) {
			p.wrong("%q does not say who has the lock:\n%s", args, out)
		}
		began := time.Now()
		for range 4 { // repeated, because the machine may be busy
			if took-healthy[i] <= 6*nodeTimeout {
				break
			}
			took, _ = timed(t, s.URLs(), 0, args...)
		}
		if more := took - healthy[i]; more > 6*nodeTimeout {
			harness.Missed(t, began, "%q took %v more than the %v on a healthy set, far above the node time-out", args, more, healthy[i])
		}
		t.Logf("%q: %v, healthy %v", args, took, healthy[i])
	}
	s.Stop(0)
	for _, args := range [][]string{{"ls"}, {"inspect", "order:42"}, {"nodes"}, {"doctor"}} {
		p := operate(t, s.URLs(), exitNoQuorum, args...)
		if all := p.stdout.String() + p.stderr.String(); !strings.Contains(all, nodes[0]) || !strings.Contains(all, nodes[1]) || !strings.Contains(all, nodes[3]) {
			t.Errorf("%q without a quorum does not name the nodes:\n%s", args, all)
		}
	}
}

func TestOperatorCommands_PrintJSON(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	locker := newLocker(t, s.URLs())
	l, err := locker.Lock(t.Context(), "order:42")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(context.Background())
	json := func(code int, args ...string) *program {
		return operate(t, s.URLs(), code, append(args, "--output", "json")...)
	}
	host, _ := os.Hostname()
	all := decode[listing](t, json(0, "ls", "order:"))
	if len(all.Locks) != 1 || len(all.Troubles) != 0 {
		t.Fatalf("%+v", all)
	}
	one := decode[lockDoc](t, json(0, "inspect", "order:42"))
	for _, d := range []lockDoc{all.Locks[0], one} {
		h := d.Holder
		if d.Key != "order:42" || d.State != "held" || d.Votes != 3 || d.Need != 2 || d.Token < l.Token() || len(d.Nodes) != 3 ||
			d.AgeMs == nil || *d.AgeMs < 0 || d.LeftMs == nil || *d.LeftMs <= 0 ||
			h.Writer != "redlock" || h.Name != "the test" || h.Host != host || h.PID != os.Getpid() {
			t.Errorf("%+v, holder %+v", d, h)
		}
	}
	if free := decode[lockDoc](t, json(exitNobody, "inspect", "nothing")); free.State != "free" || free.Holder != nil {
		t.Errorf("%+v", free)
	}
	if n := decode[surveyDoc](t, json(0, "nodes")); n.Quorum != 2 || len(n.Nodes) != 3 || !n.Nodes[0].Up || n.Nodes[0].LatencyMs <= 0 {
		t.Errorf("%+v", n)
	}
	if d := decode[diagnosis](t, json(0, "doctor")); d.Up != 3 || d.Quorum != 2 || len(d.Findings) == 0 || d.Findings[0].Fix == "" {
		t.Errorf("%+v", d)
	}
	if docs := decode[[]benchDoc](t, json(0, "bench", "--vs", "redsync", "--duration", "400ms", "-c", "2")); len(docs) != 4 ||
		docs[0].Library != "redlock" || docs[0].P50Ms <= 0 || docs[0].Rate <= 0 || docs[3].Library != "redsync" || docs[3].Workers != 2 {
		t.Errorf("%+v", docs)
	}
}
