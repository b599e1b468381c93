package quorumlock

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// Half of an even number of nodes can refuse an attempt and is too little to hold the key.
func TestRefusal_HalfOfTheNodesMakeNoHolder(t *testing.T) {
	for _, tc := range []struct {
		name    string
		holders []string // of the nodes, "" for a free one
		split   bool
	}{
		{"half of two", []string{"a", ""}, true},
		{"both", []string{"a", "a"}, false},
		{"half of four", []string{"a", "a", "", ""}, true},
		{"one half each", []string{"a", "a", "b", "b"}, true},
		{"a quorum of four", []string{"a", "", "a", "a"}, false},
		{"half of six", []string{"a", "a", "a", "b", "", ""}, true},
		{"a quorum of six", []string{"a", "", "a", "a", "", "a"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			harness.Beside(t, len(tc.holders), func(t *testing.T, s harness.Set) {
				r := newRig(t, s)
				red := r.redlock(nil, Config{TTL: lasting})
				warm(t, red)
				for i, holder := range tc.holders {
					if holder != "" {
						r.Put(i, "lock:k", holder, 20*time.Second)
					}
				}
				_, err := red.Acquire(t.Context(), "k", Request{})
				if held := as[*NotAcquiredError](t, err); held.Split != tc.split {
					t.Errorf("split: %t, want %t: %v", held.Split, tc.split, err)
				}
			})
		})
	}
}

// Half of the nodes have refused, and the answer of another decides whether their holder has a quorum.
func TestRefusal_ByHalfOfTheNodesWaitsForTheDecidingReply(t *testing.T) {
	for _, tc := range []struct {
		last  string
		split bool
	}{{"a", false}, {"b", true}, {"", true}} {
		t.Run("the last node is held by "+tc.last, func(t *testing.T) {
			onNodes(t, 4, func(t *testing.T, r *rig) {
				c := r.open(patient)
				red := r.redlock(c, Config{TTL: lasting})
				warm(t, red)
				r.Put(0, "lock:k", "a", time.Minute)
				r.Put(1, "lock:k", "a", time.Minute)
				if tc.last != "" {
					r.Put(2, "lock:k", tc.last, time.Minute)
				}
				r.pause(2)
				failed := harness.Async(func() error { _, err := red.Acquire(context.Background(), "k", Request{}); return err })
				returnedAtOnce(t, r, 3)
				select {
				case err := <-failed:
					t.Fatalf("it did not wait for the last node: %v", err)
				default:
				}
				r.resume(2)
				err := harness.Receive(t, "the end of the attempt", failed)
				if held := as[*NotAcquiredError](t, err); held.Split != tc.split {
					t.Errorf("split: %t, want %t: %v", held.Split, tc.split, err)
				}
				r.goneExcept(c, "lock:k", map[bool][]int{true: {0, 1}, false: {0, 1, 2}}[tc.last == ""]...)
			})
		})
	}
}

// returnedAtOnce waits until node i has granted the key and has it no more, as its fence counter shows.
func returnedAtOnce(t *testing.T, r *rig, i int) {
	t.Helper()
	harness.Eventually(t, "the free node has granted the key, and it is given back", func() bool {
		return r.Get(i, "{lock:k}:fence") != "" && r.Get(i, "lock:k") == ""
	})
}

func TestRefusal_WaitingForTheDecidingReplyEndsWithTheContext(t *testing.T) {
	onNodes(t, 4, func(t *testing.T, r *rig) {
		red := r.redlock(r.open(patient), Config{TTL: lasting})
		warm(t, red)
		r.Put(0, "lock:k", "a", time.Minute)
		r.Put(1, "lock:k", "a", time.Minute)
		r.pause(2)
		ctx, cancel := context.WithCancel(t.Context())
		failed := harness.Async(func() error { _, err := red.Acquire(ctx, "k", Request{}); return err })
		returnedAtOnce(t, r, 3)
		cancel()
		if err := harness.Receive(t, "the end of the attempt", failed); !errors.Is(err, context.Canceled) {
			t.Errorf("it ended by %v", err)
		}
		r.resume(2)
	})
}

// The answers that are missing decide nothing where one holder, or nobody, has a quorum whatever they are.
func TestRefusal_WaitsForNoMoreRepliesThanItNeeds(t *testing.T) {
	for name, holders := range map[string][]string{
		"one holder of three": {"a", "a"}, "two holders of three": {"a", "b"},
		"one holder of four": {"a", "a", "a"}, "two holders of four": {"a", "b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			onNodes(t, len(holders)+1, func(t *testing.T, r *rig) {
				// The node that is paused does not fail while the test waits.
				c := r.open(func(cfg *nodeset.Config) { cfg.MaxTTL, cfg.NodeTimeout = 10*time.Minute, 2*time.Minute })
				red := r.redlock(c, Config{TTL: lasting})
				warm(t, red)
				for i, holder := range holders {
					if holder != "" {
						r.Put(i, "lock:k", holder, time.Minute)
					}
				}
				r.pause(len(holders))
				failed := harness.Async(func() error { _, err := red.Acquire(context.Background(), "k", Request{}); return err })
				as[*NotAcquiredError](t, harness.Receive(t, "the end of the attempt", failed))
				r.resume(len(holders))
			})
		})
	}
}

// A node that did not answer may have granted the key, so a wake may be of use.
func TestRefusal_AnAttemptThatMayHaveAQuorumIsNotOutvoted(t *testing.T) {
	red := newRig(t, harness.Embedded(t, 4)).redlock(nil, Config{})
	for _, tc := range []struct {
		results  [4]Result
		outvoted bool
	}{
		{[4]Result{Refused, Refused, Granted, Granted}, true},
		{[4]Result{Refused, Refused, Granted, Pending}, true},
		{[4]Result{Refused, Unasked, Granted, Granted}, true},
		{[4]Result{Refused, Failed, Granted, Granted}, false},
	} {
		h, err := red.newHold("k", Request{})
		must(t, err)
		for i, result := range tc.results {
			h.members[i].result = result
		}
		if got := h.outvotedLocked(); got != tc.outvoted {
			t.Errorf("%v: outvoted %t, want %t", tc.results, got, tc.outvoted)
		}
	}
}

// Whose grants do not count must not stand before those whose do.
func TestRefusal_WhoseGrantsDoNotCountPassesTheTurnOn(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		me, next := r.open(), r.open()
		red := r.redlock(me, Config{})
		mine, theirs := &letters{came: make(chan string, 100)}, &letters{came: make(chan string, 100)}
		harness.Receive(t, "the mailbox", me.Listen(mine))
		harness.Receive(t, "the mailbox of the next", next.Listen(theirs))
		warm(t, red)
		r.poison(years(60), 0, 1, 2)
		for i, client := range r.Clients {
			must(t, client.ZAdd(t.Context(), "{lock:k}:queue",
				redis.Z{Score: 1, Member: me.Process()}, redis.Z{Score: 2, Member: next.Process()}).Err())
			harness.Eventually(t, "the node sends messages", me.Nodes()[i].Listening)
		}
		_, err := red.Acquire(t.Context(), "k", Request{Queue: true})
		if !Uncounted(err) {
			t.Fatalf("it ended by %v", err)
		}
		for i, client := range r.Clients {
			// The key is free before the attempt reaches the node, too: so both are waited for.
			harness.Eventually(t, "the key is given back and the next alone is queued", func() bool {
				queued := client.ZRange(t.Context(), "{lock:k}:queue", 0, -1).Val()
				return r.Get(i, "lock:k") == "" && slices.Equal(queued, []string{next.Process()})
			})
			must(t, client.Publish(t.Context(), nodeset.Channel(me.Process()), "end").Err())
		}
		if got := harness.Receive(t, "a message", mine.came); got != "end" {
			t.Fatalf("the process itself is sent %q", got)
		}
		if got := harness.Receive(t, "the wake of the next", theirs.came); got != "wlock:k" {
			t.Errorf("the next is sent %q", got)
		}
	})
}

// Without votes and without grants that do not count, nothing is reserved: the process would wake itself.
func TestRefusal_WithoutAQuorumOfRepliesReservesNothing(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		me := r.open()
		mine := &letters{came: make(chan string, 100)}
		harness.Receive(t, "the mailbox", me.Listen(mine))
		red := r.redlock(me, Config{})
		warm(t, red)
		must(t, r.Clients[0].ZAdd(t.Context(), "{lock:k}:queue", redis.Z{Score: 1, Member: me.Process()}).Err())
		r.Put(1, fenceOfK, "no number", time.Minute)
		r.Put(2, fenceOfK, "no number", time.Minute)
		_, err := red.Acquire(t.Context(), "k", Request{})
		as[*nodeset.QuorumError](t, err)
		returnedAtOnce(t, r, 0)
		if got := r.Get(0, "{lock:k}:next"); got != "" {
			t.Errorf("the key is kept for %q", got)
		}
		must(t, r.Clients[0].Publish(t.Context(), nodeset.Channel(me.Process()), "end").Err())
		if got := harness.Receive(t, "a message", mine.came); got != "end" {
			t.Errorf("the process itself is sent %q", got)
		}
	})
}

func TestRefusal_WithTooFewRepliesIsAQuorumError(t *testing.T) {
	red := newRig(t, harness.Embedded(t, 4)).redlock(nil, Config{})
	h, err := red.newHold("k", Request{})
	must(t, err)
	for i, result := range []Result{Refused, Refused, Failed, Failed} {
		h.members[i].result = result
		if result == Failed {
			h.members[i].say(lastReply{err: errors.New("no answer")})
		}
	}
	h.explainLocked()
	as[*nodeset.QuorumError](t, h.err)
}
