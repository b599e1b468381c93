package cluster

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodetest"
	"github.com/venta-hq/redlock/internal/redisproc"
)

// again restarts a node, and waits until it answers.
func again(t *testing.T, s nodetest.Set, i int, lose bool) {
	t.Helper()
	if err := s.Restart(i, lose); err != nil {
		t.Fatal(err)
	}
	client := nodetest.Client(t, s, i)
	eventually(t, "it answers again", func() bool { return client.Ping(t.Context()).Err() == nil })
}

// Every process that opens a set for the first time, or a set of which some have restarted, has to come to the same as one
// that was there all along.
func TestWhoOpensLateLetsVoteWhatHasForgottenNothing(t *testing.T) {
	t.Parallel()
	type restart struct {
		node int
		lose bool
	}
	for _, tt := range []struct {
		name     string
		restarts []restart
		want     []bool
	}{
		{"none restarted", nil, []bool{true, true, true}},
		{"one forgot", []restart{{1, true}}, []bool{true, false, true}},
		{"one restarted with its memory", []restart{{1, false}}, []bool{true, false, true}},
		{"a quorum forgot", []restart{{1, true}, {0, true}}, []bool{false, false, true}},
		{"all restarted with their memory", []restart{{0, false}, {1, false}, {2, false}}, []bool{false, false, false}},
		{"all restarted, and one forgot", []restart{{0, false}, {1, true}, {2, false}}, []bool{false, false, false}},
		{"all restarted, and one did not forget", []restart{{0, true}, {1, true}, {2, false}}, []bool{false, false, false}},
		{"all forgot, so they are a new set", []restart{{0, true}, {1, true}, {2, true}}, []bool{true, true, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nodetest.Each(t, 3, func(t *testing.T, s nodetest.Set) {
				open(t, s)
				for _, r := range tt.restarts {
					again(t, s, r.node, r.lose)
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

// A node that was met for the first time may have been met by others, whom it granted something, before it forgot that.
func TestANodeThatWasMissingWhenTheSetWasMadeDoesNotFoundIt(t *testing.T) {
	t.Parallel()
	nodetest.Each(t, 3, func(t *testing.T, s nodetest.Set) {
		s.Stop(2)
		c := open(t, s, impatient)
		if got, want := votes(c), []bool{false, false, true}; !slices.Equal(got[:2], want[:2]) {
			t.Errorf("before all were met votes are %v, want %v", got, want)
		}
		again(t, s, 2, true)
		eventually(t, "all vote", func() bool { return !slices.Contains(votes(c), false) })
		if got := votes(open(t, s)); slices.Contains(got, false) {
			t.Errorf("for who opens later votes are %v", got)
		}
	})
}

func TestProcessesThatOpenANewSetAtOnceAllLetItVote(t *testing.T) {
	t.Parallel()
	nodetest.Each(t, 3, func(t *testing.T, s nodetest.Set) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				c, err := tryOpen(t, Config{URLs: s.URLs(), NodeTimeout: 2 * time.Second})
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
	nodetest.Each(t, 3, func(t *testing.T, s nodetest.Set) {
		c := open(t, s, impatient, func(cfg *Config) { cfg.Partial = true })
		empty(t, s)
		c.settled = false
		for _, n := range c.nodes {
			n.founded.Store(false)
		}
		runs := []string{c.nodes[0].runs(), "an earlier run", c.nodes[2].runs()}
		if isNew, done := c.look(t.Context(), runs); !isNew || done {
			t.Errorf("nodes without marks: new %t, done %t", isNew, done)
		}
		if !c.inscribe(t.Context(), runs) {
			t.Error("it was not written")
		}
		if got, want := votes(c), []bool{true, false, true}; !slices.Equal(got, want) {
			t.Errorf("votes are %v, want %v", got, want)
		}
		if got, want := votes(open(t, s)), []bool{true, false, true}; !slices.Equal(got, want) {
			t.Errorf("for who opens later votes are %v, want %v", got, want)
		}
	})
}

// empty empties the nodes.
func empty(t *testing.T, s nodetest.Set) {
	t.Helper()
	for i := range s.Len() {
		if err := nodetest.Client(t, s, i).FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatMarksSayOfASet(t *testing.T) {
	runs := []string{"a", "b"}
	for _, tt := range []struct {
		marks [2]string
		want  standing
	}{
		{[2]string{"", ""}, unfounded},
		{[2]string{met + "a", met + "b"}, unfounded},
		{[2]string{met + "a", ""}, unfounded},
		{[2]string{met + "a", met + "B"}, established},
		{[2]string{met + "a", founded + "B"}, established},
		{[2]string{founded + "a", founded + "B"}, established},
		{[2]string{founded + "a", met + "b"}, beingFounded},
		{[2]string{"", founded + "b"}, beingFounded},
		{[2]string{founded + "a", founded + "b"}, isFounded},
		{[2]string{"whatever", "b"}, established},
	} {
		if got := standingOf(tt.marks[:], runs); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.marks, got, tt.want)
		}
	}
}

// Where the mark can not be read or written nothing is known, and who knows nothing waits.
func TestASetThatCanNotBeMarkedIsNotNew(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, admin *redis.Client) error{
		"the user may not": func(t *testing.T, admin *redis.Client) error {
			return admin.Do(t.Context(), "acl", "setuser", "default", "resetkeys", "~lock:*").Err()
		},
		"it is another's key": func(t *testing.T, admin *redis.Client) error {
			return admin.RPush(t.Context(), markKey, "x").Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := nodetest.Real(t, 3, redisproc.Options{})
			if err := spoil(t, nodetest.Client(t, s, 1)); err != nil {
				t.Fatal(err)
			}
			c := open(t, s)
			if got, want := votes(c), []bool{false, false, false}; !slices.Equal(got, want) {
				t.Errorf("votes are %v, want %v", got, want)
			}
			if got, want := findings(c.Check(t.Context())), "node "+c.Nodes()[1].Name()+": can not be marked ("; strings.Count(got, want) != 1 || strings.Count(got, "can not be marked") != 1 {
				t.Errorf("Check says\n%s\nwant it to say %q once", got, want)
			}
		})
	}
}
