package cluster

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// again restarts a node, and waits until it answers.
func again(t *testing.T, s harness.Set, i int, lose bool) {
	t.Helper()
	if err := s.Restart(i, lose); err != nil {
		t.Fatal(err)
	}
	client := harness.Client(t, s, i)
	harness.Eventually(t, "an answer after the restart", func() bool { return client.Ping(t.Context()).Err() == nil })
}

// alone opens the set of one node that a node of s is to whoever knows it only.
func alone(t *testing.T, s harness.Set, i int) {
	t.Helper()
	c := mustOpen(t, Config{URLs: s.URLs()[i : i+1]})
	harness.Eventually(t, "its vote in the set of one", c.Nodes()[0].Votes)
}

func TestWhoOpensLateLetsVoteWhatHasForgottenNothing(t *testing.T) {
	t.Parallel()
	forgets := func(i int) func(*testing.T, harness.Set) {
		return func(t *testing.T, s harness.Set) { again(t, s, i, true) }
	}
	remembers := func(i int) func(*testing.T, harness.Set) {
		return func(t *testing.T, s harness.Set) { again(t, s, i, false) }
	}
	type steps []func(*testing.T, harness.Set)
	for _, tt := range []struct {
		name  string
		steps steps
		want  []bool
	}{
		{"none restarted", nil, []bool{true, true, true}},
		{"one forgot", steps{forgets(1)}, []bool{true, false, true}},
		{"one restarted with its memory", steps{remembers(1)}, []bool{true, false, true}},
		{"one forgot, and is another set for somebody", steps{forgets(1), func(t *testing.T, s harness.Set) { alone(t, s, 1) }}, []bool{true, false, true}},
		{"a quorum forgot", steps{forgets(1), forgets(0)}, []bool{false, false, false}},
		{"all restarted with their memory", steps{remembers(0), remembers(1), remembers(2)}, []bool{false, false, false}},
		{"all restarted, and one forgot", steps{remembers(0), forgets(1), remembers(2)}, []bool{false, false, false}},
		{"all restarted, and one did not forget", steps{forgets(0), forgets(1), remembers(2)}, []bool{false, false, false}},
		{"all forgot, so they are a new set", steps{forgets(0), forgets(1), forgets(2)}, []bool{true, true, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			harness.Each(t, 3, func(t *testing.T, s harness.Set) {
				shut(t, open(t, s))
				for _, step := range tt.steps {
					step(t, s)
				}
				for range 2 { // what the first one writes must not change what the second one finds
					if got := votes(open(t, s)); !slices.Equal(got, tt.want) {
						t.Errorf("votes are %v, want %v", got, tt.want)
					}
				}
			})
		})
	}
}

func TestASetIsFoundedWhenItsLastNodeIsMet(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		s.Stop(2)
		c := open(t, s, impatient)
		if got := votes(c); got[0] || got[1] {
			t.Errorf("before all were met votes are %v", got)
		}
		again(t, s, 2, true)
		harness.Eventually(t, "all votes", func() bool { return !slices.Contains(votes(c), false) })
		if got := votes(open(t, s)); slices.Contains(got, false) {
			t.Errorf("for who opens later votes are %v", got)
		}
	})
}

func TestProcessesThatOpenANewSetAtOnceAllLetItVote(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				c, err := tryOpen(t, Config{URLs: s.URLs()})
				if err != nil {
					t.Error(err)
				} else if got := votes(c); slices.Contains(got, false) {
					t.Errorf("votes are %v", got)
				}
			})
		}
		wg.Wait()
	})
}

func TestAFoundingThatWasBrokenOffIsFinished(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		for i := 1; i < 3; i++ {
			m := c.Nodes()[i].evidence.Load().mark
			m.state, m.set = stateNew, ""
			if err := harness.Client(t, s, i).Set(t.Context(), markKey, m.String(), 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if got := votes(open(t, s)); slices.Contains(got, false) {
				t.Errorf("votes are %v", got)
			}
		}
	})
}

// A process that runs on remembers what the nodes have forgotten.
func TestWhoRunsOnKeepsNodesThatAllForgotFromBeingNew(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		for i := range s.Len() {
			again(t, s, i, true)
		}
		for i, n := range c.Nodes() {
			client := harness.Client(t, s, i)
			harness.Eventually(t, "the mark", func() bool {
				run(t, n, pingScript, nil)
				m, _ := parseMark(client.Get(t.Context(), markKey).Val())
				return m.state == stateSeen
			})
		}
		if got := votes(open(t, s)); slices.Contains(got, true) {
			t.Errorf("votes are %v", got)
		}
	})
}

func TestWhatMarksSayOfASet(t *testing.T) {
	fresh := func(memory string) mark { return mark{memory: memory, state: stateNew} }
	ripe := func(memory, set string) mark { return mark{memory: memory, state: stateRipe, set: set} }
	seen := mark{memory: "b", state: stateSeen}
	for _, tt := range []struct {
		a, b  mark
		young bool
		want  standing
	}{
		{fresh("a"), fresh("b"), true, unfounded},
		{fresh("a"), fresh("b"), false, established},
		{fresh("a"), seen, true, established},
		{fresh("a"), mark{}, true, established},
		{fresh("a"), ripe("b", "a,b"), true, unfounded},
		{fresh("a"), ripe("b", "A,b"), true, established},
		{fresh("a"), ripe("b", "b"), true, established},
		{ripe("a", "a,b"), ripe("b", "a,b"), false, isFounded},
		{ripe("a", "a,b"), seen, true, established},
	} {
		if got := standingOf([]mark{tt.a, tt.b}, []bool{tt.young, tt.young}); got != tt.want {
			t.Errorf("%v and %v, young %t: %v, want %v", tt.a, tt.b, tt.young, got, tt.want)
		}
	}
}

func TestWhichMarksLetANodeVote(t *testing.T) {
	ripe := func(memory, set string) mark { return mark{memory: memory, state: stateRipe, set: set} }
	other := mark{memory: "x", state: stateSeen}
	for i, tt := range []struct {
		marks []mark
		want  bool
	}{
		{[]mark{ripe("a", "a,b,c"), ripe("b", "a,b,c"), ripe("c", "a,b,c")}, true},
		{[]mark{ripe("a", "a,b,c"), ripe("b", "a,b,c"), other}, true},
		{[]mark{ripe("a", "a,b,c"), other, other}, false},
		{[]mark{ripe("a", "a"), ripe("b", "a,b,c"), ripe("c", "a,b,c")}, false}, // founded since, as another set
		{[]mark{ripe("x", "a,b,c"), ripe("b", "a,b,c"), ripe("c", "a,b,c")}, false},
		{[]mark{ripe("a", "a,b,c,d"), ripe("b", "a,b,c,d"), ripe("c", "a,b,c,d")}, false},
		{[]mark{{memory: "a", state: stateNew, set: "a,b,c"}, ripe("b", "a,b,c"), ripe("c", "a,b,c")}, false},
	} {
		if got := stands(tt.marks, 0); got != tt.want {
			t.Errorf("%d: %t, want %t", i, got, tt.want)
		}
	}
}

// A master that was demoted has been told by the other what it knows, and its run is the same when it is master again.
func TestANodeThatComesBackToARunDoesNotVote(t *testing.T) {
	n := bareCluster(time.Now(), 1).nodes[0]
	first := old(t, n, facts{runID: "a"})
	other := old(t, n, facts{runID: "b"})
	if other == first || !n.Votes() {
		t.Fatalf("another server that is old, with a memory of its own, does not vote")
	}
	if again := meet(t, n, facts{runID: "a"}, first); n.Votes() || again == first {
		t.Error("a memory that was superseded votes")
	}
	if meet(t, n, facts{runID: "a"}, other); n.Votes() {
		t.Error("a mark that another server had votes")
	}
}

// Without a mark nothing would show that a set that has restarted is not new.
func TestANodeThatCanNotBeMarkedIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, admin *redis.Client) error
		want  string
	}{
		"the user may not": {func(t *testing.T, admin *redis.Client) error {
			return admin.Do(t.Context(), "acl", "setuser", "default", "resetkeys", "~lock:*").Err()
		}, "this user needs ~redlock:mark +get +set +eval"},
		"it is another's key": {func(t *testing.T, admin *redis.Client) error {
			return admin.RPush(t.Context(), markKey, "x").Err()
		}, "can not be marked: redlock:mark: WRONGTYPE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Real(t, 3, redisserver.Options{})
			if err := tt.spoil(t, harness.Client(t, s, 1)); err != nil {
				t.Fatal(err)
			}
			c, err := tryOpen(t, Config{URLs: s.URLs(), NodeTimeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for i, status := range c.Status() {
				if i != 1 != status.Up || !status.Up && !strings.Contains(status.Err.Error(), tt.want) {
					t.Errorf("node %d: %+v, want node 1 alone to be down, saying %q", i, status, tt.want)
				}
			}
		})
	}
}

// One to whom a server does not tell its run takes locks on it as well.
func TestAMarkIsMadeByWhoIsNotToldOfRestarts(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, redisserver.Options{})
	admin := harness.Client(t, s, 0)
	may := func(rule string) {
		t.Helper()
		if err := admin.Do(t.Context(), "acl", "setuser", "default", rule).Err(); err != nil {
			t.Fatal(err)
		}
	}
	may("-info")
	if !open(t, s).Nodes()[0].Votes() {
		t.Error("a server that does not tell its uptime does not vote")
	}
	may("+info")
	if open(t, s).Nodes()[0].Votes() {
		t.Error("a node on which locks may have been granted is taken for a new one")
	}
}
