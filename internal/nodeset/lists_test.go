package nodeset

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// A process whose list is not that of the set would have a quorum of its own.
func TestOpen_RefusesAListThatIsNotThatOfTheSet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		is, list    []int
		quorum      int
		saysIs, say string
	}{
		{"more nodes", []int{0}, []int{0, 1, 2}, 0, "1 nodes with a quorum of 1", "3 nodes with a quorum of 2"},
		{"many more", []int{0, 1, 2}, []int{0, 1, 2, 3, 4, 5, 6}, 0, "3 nodes with a quorum of 2", "7 nodes with a quorum of 4"},
		{"fewer", []int{0, 1, 2}, []int{2}, 0, "3 nodes with a quorum of 2", "1 nodes with a quorum of 1"},
		{"mostly others", []int{0, 1, 2}, []int{2, 3, 4}, 0, "3 nodes with a quorum of 2", "3 nodes with a quorum of 2"},
		{"another quorum", []int{0, 1, 2}, []int{0, 1, 2}, 3, "3 nodes with a quorum of 2", "3 nodes with a quorum of 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := harness.Embedded(t, 7)
			urls := func(list []int) (all []string) {
				for _, i := range list {
					all = append(all, s.URLs()[i])
				}
				return all
			}
			began := time.Now()
			shut(t, mustOpen(t, Config{URLs: urls(tt.is)}))
			_, err := tryOpen(t, Config{URLs: urls(tt.list), Quorum: tt.quorum})
			if !errors.Is(err, ErrConfig) {
				harness.Must(t, began, err)
				t.Fatalf("Open of %v, and the set is %v: %v", tt.list, tt.is, err)
			}
			for _, list := range [][]int{tt.is, tt.list} {
				for _, i := range list {
					if !strings.Contains(err.Error(), hostOf(t, s.URLs()[i])) {
						t.Errorf("the error does not name node %d: %v", i, err)
					}
				}
			}
			if !strings.Contains(err.Error(), tt.saysIs) || !strings.Contains(err.Error(), tt.say) || !strings.Contains(err.Error(), "delete redlock:mark on each") {
				t.Errorf("the error does not say what is, what is listed, and what to do: %v", err)
			}
		})
	}
}

// One node of the list that is none of the set is like one that is down.
func TestOpen_ANodeThatIsNoneOfTheSetIsDown(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 5)
	shut(t, mustOpen(t, Config{URLs: s.URLs()[:3]}))
	c := mustOpen(t, Config{URLs: []string{s.URLs()[0], s.URLs()[1], s.URLs()[3]}})
	harness.Eventually(t, "the stranger to be down", func() bool { return !c.Status()[2].Up })
	if st := c.Status(); !st[0].Votes || !st[1].Votes || !strings.Contains(st[2].Err.Error(), "has no place in the set of 3 nodes") {
		t.Errorf("%+v", st)
	}
	shut(t, mustOpen(t, Config{URLs: s.URLs()[3:4]})) // which bootstraps a set of its own
	c = mustOpen(t, Config{URLs: []string{s.URLs()[0], s.URLs()[1], s.URLs()[3]}})
	harness.Eventually(t, "the other set's node to be down", func() bool { return !c.Status()[2].Up })
	if st := c.Status(); !st[0].Votes || !st[1].Votes || !strings.Contains(st[2].Err.Error(), "belongs to a set of 1 nodes") {
		t.Errorf("%+v", st)
	}
	if all := fmt.Sprint(c.Check(t.Context())); !strings.Contains(all, "belongs to a set of 1 nodes") {
		t.Errorf("Check says %s", all)
	}
}

// A node that is none of the set any more stays down, though it answers on connections from before.
func TestProbe_ANodeOfAnotherSetStaysDown(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s)
	n := c.Nodes()[2]
	m := n.evidence.Load().mark
	m.memory, m.record = "another", newRecord([]string{"a", "b", "c"}, []string{"1", "2", "3"}, 2)
	m.id = "c"
	if err := harness.Client(t, s, 2).Set(t.Context(), marks.Key, m.String(), 0).Err(); err != nil {
		t.Fatal(err)
	}
	run(t, n, pingScript, nil)
	harness.Eventually(t, "its mark to be seen", func() bool { return !n.member.Load() })
	if err := n.probe(t.Context()); err == nil || !Unusable(err) {
		t.Errorf("a probe says %v", err)
	}
}

// A node that has lost its mark gets its place back from who knows it, by whatever name.
func TestMembership_AnEmptiedNodeRegainsItsPlace(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s, shortTTL)
		again(t, s, 1, true)
		harness.Eventually(t, "its place", func() bool {
			run(t, c.Nodes()[1], pingScript, nil)
			e := c.Nodes()[1].evidence.Load() // nil until it was connected to again
			return e != nil && e.mark.state == stateSeen && e.mark.final && e.mark.record == *c.record.Load()
		})
		harness.Eventually(t, "its vote", c.Nodes()[1].Votes)
	})
}

// While a node is away its set is bootstrapped by the others, once nothing that it may have granted can matter.
func TestBootstrap_WithoutAnUnreachableNodeAfterAQuarantine(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	s.Stop(2)
	began := time.Now()
	c := open(t, s, shortTTL)
	if slices.Contains(votes(c), true) {
		t.Error("it votes at once")
	}
	harness.Eventually(t, "a quorum to vote", func() bool { v := votes(c); return v[0] && v[1] })
	if took := time.Since(began); took < c.quarantine() {
		t.Errorf("it voted after %v, before %v were over", took, c.quarantine())
	}
	again(t, s, 2, true)
	harness.Eventually(t, "the third to vote", c.Nodes()[2].Votes)
}

// New nodes of which nobody says that they were made just now wait for processes that may know them.
func TestBootstrap_OfNewNodesWaitsForProcessesThatKnewThem(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	for i := range s.Len() {
		if err := harness.Client(t, s, i).FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	c := open(t, s)
	if took := time.Since(began); took < c.grace() || slices.Contains(votes(c), false) {
		t.Errorf("after %v, of %v, votes are %v", took, c.grace(), votes(c))
	}
}

// What looks at nodes leaves them as they are.
func TestOpen_PartialBootstrapsNoSet(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	look := mustOpen(t, Config{URLs: s.URLs(), Partial: true})
	if all := fmt.Sprint(look.Check(t.Context())); !strings.Contains(all, "is not bootstrapped yet") {
		t.Errorf("Check says %s", all)
	}
	others := harness.Embedded(t, 2)
	if got := votes(mustOpen(t, Config{URLs: append(others.URLs(), s.URLs()...)})); slices.Contains(got, false) {
		t.Errorf("votes are %v", got)
	}
	harness.Eventually(t, "the one that looks to see that the node belongs to a set", func() bool {
		return look.Nodes()[0].probe(t.Context()) != nil && !look.Status()[0].Votes
	})
}

// A server that was another node's for a while, by a mistake of names, can be used as what it is.
func TestNode_Learn_AServerReturnsToItsOwnNode(t *testing.T) {
	c := bareCluster(time.Now(), 2)
	a, b := c.nodes[0], c.nodes[1]
	if err := b.learn(facts{runID: "A"}); err != nil {
		t.Fatal(err)
	}
	if err := a.learn(facts{runID: "A"}); err == nil {
		t.Error("one server is two nodes")
	}
	if err := b.learn(facts{runID: "B"}); err != nil {
		t.Fatal(err)
	}
	if err := a.learn(facts{runID: "A"}); err != nil {
		t.Errorf("node a is refused its server: %v", err)
	}
}

func TestCheck_ANameWhoseServersAlternateIsADanger(t *testing.T) {
	n := bareCluster(time.Now(), 1).nodes[0]
	for i, tt := range []struct {
		run    string
		stands bool
		want   bool
	}{{"a", false, false}, {"b", false, false}, {"b", false, false}, {"c", false, false}, {"a", true, false}, {"b", false, true}} {
		n.canFailOver = tt.stands
		if err := n.learn(facts{runID: tt.run}); err != nil {
			t.Fatal(err)
		}
		if got := n.c.Status()[0].TakesTurns; got != tt.want {
			t.Errorf("%d, after %s: servers take turns: %t", i, tt.run, got)
		}
		n.member.Store(true)
		n.evidence.Store(&evidence{ripe: math.MinInt64})
		if n.votes(time.Now()) == tt.want {
			t.Errorf("%d, after %s: its vote counts: %t", i, tt.run, !tt.want)
		}
	}
}

// A set that got a node and lost another has the size it had, so that its size alone does not show that a list is old.
func TestOpen_RefusesTheListOfBeforeAReplacement(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 4)
	u := s.URLs()
	old := Config{URLs: u[:3], MaxTTL: time.Second, NodeTimeout: 200 * time.Millisecond}
	left := mustOpen(t, old)
	change := func(urls []string, add, remove string) {
		t.Helper()
		cfg := old
		cfg.URLs = urls
		tool, err := NewResize(cfg, add, remove, func(string, ...any) {})
		if err != nil {
			t.Fatal(err)
		}
		defer tool.Close()
		tool.Force = true // left stays as it is
		began := time.Now()
		harness.Must(t, began, tool.Run(t.Context()))
	}
	change(u[:3], u[3], "")
	change(u, "", hostOf(t, u[1]))
	lists := []string{"to use the node in another set, delete redlock:mark on it", "was removed from a set that was resized to 3 nodes with a quorum of 2 (" + listedAs(t, u[0], u[2], u[3]) + ")", "this process lists 3 nodes with a quorum of 2 ("}
	named := func(what string, err error) {
		t.Helper()
		for _, want := range lists {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", what, err, want)
			}
		}
	}
	began := time.Now()
	_, err := tryOpen(t, old)
	if !errors.Is(err, ErrConfig) {
		harness.Must(t, began, err)
		t.Fatalf("Open with the list of before: %v", err)
	}
	named("Open", err)
	harness.Eventually(t, "the process that is left over to be refused", func() bool {
		err := left.Status()[1].Err
		return err != nil && isListed(err) && strings.Contains(err.Error(), lists[1])
	})
	named("the process that is left over", left.Status()[1].Err)
	shut(t, mustOpen(t, Config{URLs: []string{u[0], u[2], u[3]}, MaxTTL: old.MaxTTL, NodeTimeout: old.NodeTimeout}))
}

// listedAs is these nodes as a record names them.
func listedAs(t *testing.T, urls ...string) string {
	t.Helper()
	var all []string
	for _, u := range urls {
		all = append(all, hostOf(t, u))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
