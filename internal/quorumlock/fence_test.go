package quorumlock

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

const fenceOfK = "{lock:k}:fence"

// poison has some nodes count on from fence.
func (r *rig) poison(fence int64, nodes ...int) {
	r.t.Helper()
	for _, i := range nodes {
		r.Put(i, fenceOfK, strconv.FormatInt(fence, 10), time.Hour)
	}
}

func (r *rig) fence(i int) int64 {
	r.t.Helper()
	fence, err := strconv.ParseInt(r.Get(i, fenceOfK), 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return fence
}

// years is a fence counter of a node whose clock is as far ahead.
func years(n int) int64 { return time.Now().AddDate(n, 0, 0).UnixMicro() }

// checkNames has Check report text as a danger, of these nodes and no others.
func checkNames(t *testing.T, c *nodeset.Set, text string, nodes ...int) {
	t.Helper()
	var want, got []string
	for _, i := range nodes {
		want = append(want, c.Nodes()[i].Name())
	}
	found := c.Check(t.Context())
	for _, f := range found {
		if f.Severity == nodeset.Danger && strings.Contains(f.Text, text) {
			got = append(got, f.Node)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Check says %q of %v, want %v: %v", text, got, want, found)
	}
}

func TestFence_ACounterBeyondTheClockAffectsNoOther(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{})
		for _, fence := range []int64{years(60), maxFence - 1000} {
			r.poison(fence, 0)
			limit := fenceLimit(time.Now(), c.Config().MaxTTL)
			for range 3 {
				h := acquireEverywhere(t, red, "k", Request{TokenBlock: 3})
				if lastToken(h) > limit {
					t.Errorf("token %d, of a counter at %d", lastToken(h), fence)
				}
				must(t, h.Release(context.Background()))
			}
			for i := range r.Len() {
				if got := r.fence(i); (got > limit) != (i == 0) {
					t.Errorf("the counter of node %d is %d", i, got)
				}
			}
		}
		checkNames(t, c, `fence counter of "k" lies `, 0)
		r.goneEverywhere(c, "lock:k")
	})
}

func TestFence_CountersBeyondTheClockOnAQuorumAreReported(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		for fence, says := range map[int64]string{
			years(60):    `fence counter of "k" lies `,
			maxFence - 1: `fence counter of "k" cannot be raised`,
		} {
			c := r.open()
			red := r.redlock(c, Config{})
			r.poison(fence, 0, 1)
			_, err := red.Acquire(t.Context(), "k", Request{})
			if !errors.Is(err, nodeset.ErrNoQuorum) || !errors.Is(err, errFence) || !strings.Contains(err.Error(), "--repair-fences") {
				t.Errorf("counters at %d: %v", fence, err)
			}
			if few := as[*nodeset.QuorumError](t, err); few.NotVoting != 0 || few.Got > 1 {
				t.Errorf("%+v", few)
			}
			checkNames(t, c, says, 0, 1)
			r.goneEverywhere(c, "lock:k")
		}
	})
}

func TestFence_ACounterADayAheadCounts(t *testing.T) {
	now := time.UnixMicro(1e15)
	if got, want := fenceLimit(now, time.Minute), int64(1e15)+(24*time.Hour+time.Minute).Microseconds(); got != want {
		t.Errorf("the limit is %d, want %d", got, want)
	}
	if got := fenceLimit(time.UnixMicro(maxFence), time.Minute); got != maxFence-1 {
		t.Errorf("the limit is %d, and numbers end below %d", got, int64(maxFence))
	}
}

func TestRepairFences_SetsOnlyWhatIsBeyondTheClock(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{})
		ahead := time.Now().Add(time.Hour).UnixMicro()
		r.poison(years(60), 0)
		r.poison(ahead, 1, 2)
		r.Put(0, "{lock:fine}:fence", "5", time.Hour)
		r.Put(1, "{lock:text}:fence", "no number", time.Hour)
		r.Put(1, "{other:k}:fence", "9007199254740991", time.Hour)
		bad, err := red.BadFences(t.Context(), "")
		must(t, err)
		if len(bad) != 2 || bad[0].Key != "k" || bad[0].Node != c.Nodes()[0].Name() || bad[1].Key != "text" || bad[1].Value != "no number" {
			t.Fatalf("%+v", bad)
		}
		if found := red.CheckFences(t.Context()); len(found) != 2 || found[0].Node != c.Nodes()[0].Name() || found[1].Node != c.Nodes()[1].Name() ||
			found[0].Severity != nodeset.Danger || !strings.Contains(found[1].Text, `"lock:text", no number,`) || !strings.HasSuffix(found[0].Fix, " lock:") {
			t.Errorf("findings: %+v", found)
		}
		for _, b := range bad {
			must(t, red.RepairFence(t.Context(), b))
		}
		if found := red.CheckFences(t.Context()); len(found) != 0 {
			t.Errorf("findings after the repair: %+v", found)
		}
		if got := r.fence(0); got <= ahead || got > fenceLimit(time.Now(), 0) {
			t.Errorf("the counter is set to %d; the others are at %d", got, ahead)
		}
		for i := 1; i < 3; i++ {
			if got := r.fence(i); got != ahead {
				t.Errorf("the counter of node %d was changed to %d", i, got)
			}
		}
		if r.Get(0, "{lock:fine}:fence") != "5" || r.Get(1, "{other:k}:fence") != "9007199254740991" {
			t.Error("a counter was changed that has nothing to do with it")
		}
		if ttl := r.Clients[0].PTTL(t.Context(), fenceOfK).Val(); ttl <= time.Hour {
			t.Errorf("the counter is kept for %v", ttl)
		}
		h := acquireEverywhere(t, red, "k", Request{})
		if h.Token() <= ahead {
			t.Errorf("token %d after %d", h.Token(), ahead)
		}
		must(t, h.Release(context.Background()))
		bad, err = red.BadFences(t.Context(), "")
		if err != nil || len(bad) != 0 {
			t.Errorf("after the repair: %+v, %v", bad, err)
		}
	})
}

func TestRepairFences_ACounterThatWasRepairedMeanwhileIsLeft(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(r.open(), Config{})
		r.poison(years(60), 0, 1, 2)
		bad, err := red.BadFences(t.Context(), "")
		must(t, err)
		if len(bad) != 3 {
			t.Fatalf("%+v", bad)
		}
		r.poison(7, 0)
		must(t, red.RepairFence(t.Context(), bad[0]))
		if got := r.fence(0); got != 7 {
			t.Errorf("it was set to %d", got)
		}
		r.Stop(1)
		harness.Eventually(t, "the stopped node is named", func() bool { return red.RepairFence(t.Context(), bad[1]) != nil })
	})
}
