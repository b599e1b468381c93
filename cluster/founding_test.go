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

// Between the reading of the marks and the writing a node may restart.
func TestANodeThatRestartsWhileTheSetIsFoundedIsNotFounded(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		runs, _ := c.marks()
		runs[1] = "earlier"
		if err := c.inscribe(runs); err != nil {
			t.Fatal(err)
		}
		if got, want := votes(open(t, s)), []bool{true, false, true}; !slices.Equal(got, want) {
			t.Errorf("for who opens later votes are %v, want %v", got, want)
		}
	})
}

func TestAFoundingThatWasBrokenOffIsFinished(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		runs, _ := open(t, s).marks()
		for i, text := range []string{foundingOf(runs), met + runs[1], met + runs[2]} {
			if err := harness.Client(t, s, i).Set(t.Context(), markKey, text, 0).Err(); err != nil {
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
				return strings.HasPrefix(client.Get(t.Context(), markKey).Val(), metAgain)
			})
		}
		if got := votes(open(t, s)); slices.Contains(got, true) {
			t.Errorf("votes are %v", got)
		}
	})
}

func TestWhatMarksSayOfASet(t *testing.T) {
	runs := []string{"b", "a"}
	for _, tt := range []struct {
		marks [2]string
		want  standing
	}{
		{[2]string{"met b", "met a"}, unfounded},
		{[2]string{"met b", "met A"}, established},
		{[2]string{"met b", ""}, established},
		{[2]string{"met b", "met "}, established},
		{[2]string{"met b", "founded b"}, established},
		{[2]string{"founded A b", "met a"}, established},
		{[2]string{"founded a b", "met a"}, unfounded},
		{[2]string{"met b", "met again a"}, established},
		{[2]string{"founded a b", "founded a b"}, isFounded},
		{[2]string{"whatever", "a"}, established},
	} {
		if got := standingOf(tt.marks[:], runs); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.marks, got, tt.want)
		}
	}
}

func TestWhichMarksLetANodeVote(t *testing.T) {
	for mark, want := range map[string]bool{
		"founded a b c": true, "founded a b x": true, "founded a x y": false, "founded x b c": false,
		"founded a b": false, "founded a b c d": false, "met a": false, "": false, "founded": false,
	} {
		if got := stands(mark, "a", []string{"a", "b", "c"}); got != want {
			t.Errorf("%q: %t, want %t", mark, got, want)
		}
		if stands(mark, "", []string{"", "b", "c"}) {
			t.Errorf("%q lets a node vote that was not met", mark)
		}
	}
}

// A master that was demoted has been told by the other what it knows, and its run is the same when it is master again.
func TestANodeThatComesBackToARunIsNotFounded(t *testing.T) {
	now := time.Now()
	c := bareCluster(now, 1)
	n := c.nodes[0]
	for i, run := range []string{"a", "b", "a"} {
		if _, err := n.learn(facts{runID: run, now: now}, now, now); err != nil {
			t.Fatal(err)
		}
		n.learnMark(run, "founded a")
		c.reckon()
		if got, want := n.votes(now), i == 0; got != want {
			t.Errorf("after %d fail-overs it votes: %t", i, got)
		}
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
		}, "this user needs ~redlock:mark +get +set"},
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
