package quorumlock

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// extend runs one round and waits for its verdict.
func extend(t testing.TB, h *Hold, ttl time.Duration) Verdict {
	t.Helper()
	return harness.Receive(t, "the verdict", round(h, ttl))
}

func round(h *Hold, ttl time.Duration) <-chan Verdict {
	verdict := make(chan Verdict, 2)
	h.Extend(ttl, func(v Verdict) { verdict <- v })
	return verdict
}

func TestExtend_MovesTheDeadlineFromTheStartOfTheRound(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(r.open(patient), Config{TTL: 30 * time.Second})
		h := acquireEverywhere(t, red, "k", Request{})
		r.pause(0, 1, 2)
		before := time.Now()
		verdict := round(h, 50*time.Second)
		after := time.Now()
		if old := nodeset.Deadline(before, 30*time.Second); h.Deadline().After(old) {
			t.Error("the deadline moved before a quorum answered")
		}
		harness.Past(after.Add(30 * time.Millisecond))
		r.resume(0, 1, 2)
		if v := harness.Receive(t, "the verdict", verdict); v != Extended {
			t.Fatalf("verdict = %v", v)
		}
		from, to := nodeset.Deadline(before, 50*time.Second), nodeset.Deadline(after, 50*time.Second)
		if d := h.Deadline(); d.Before(from) || d.After(to) {
			t.Errorf("the deadline is %v after the earliest it can be, %v after the latest", d.Sub(from), d.Sub(to))
		}
		if h.TTL() != 50*time.Second {
			t.Errorf("TTL = %v", h.TTL())
		}
		harness.Eventually(t, "all have answered", h.landed)
		for i := range 3 {
			if got := r.Clients[i].PTTL(context.Background(), "lock:k").Val(); got <= 30*time.Second {
				t.Errorf("node %d keeps the key for %v", i, got)
			}
		}
		_ = h.Release(context.Background())
	})
}

// Somebody else may have had the key on a node between its loss and its return.
func TestExtend_AHealedNodeCountsFromTheNextRound(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		r.Flush(0, 1)
		if v := extend(t, h, 30*time.Second); v != Extended {
			t.Fatalf("two of five nodes forgot: verdict = %v, want Extended", v)
		}
		harness.Eventually(t, "all have answered", h.landed)
		if got, want := results(h), []Result{Healed, Healed, Granted, Granted, Granted}; !slices.Equal(got, want) {
			t.Errorf("answers = %v, want %v", got, want)
		}
		if nodes := r.Having("lock:k"); len(nodes) != 5 {
			t.Errorf("nodes %v have the key", nodes)
		}
		r.Flush(2, 3) // with the node that is left, the healed two are the quorum
		if v := extend(t, h, 30*time.Second); v != Extended {
			t.Fatalf("in the next round: verdict = %v, want Extended", v)
		}
		harness.Eventually(t, "all have answered", h.landed)
		r.Flush(0, 1, 2)
		before := h.Deadline()
		if v := extend(t, h, 30*time.Second); v != Over {
			t.Errorf("three of five nodes forgot: verdict = %v, want Over", v)
		}
		if h.Deadline() != before {
			t.Error("the deadline moved")
		}
		harness.Eventually(t, "all have answered", h.landed) // and have the key, again
		asked := r.scripts(4)
		if v := extend(t, h, 30*time.Second); v != Over || h.Deadline() != before || r.scripts(4) != asked {
			t.Errorf("a round after the hold was over: %v", v)
		}
		if err := h.Release(context.Background()); !errors.Is(err, ErrLost) {
			t.Errorf("release = %v", err)
		}
		harness.Eventually(t, "all is given back", func() bool { return len(r.Having("lock:k")) == 0 })
	})
}

func TestExtend_AKeyTakenOnAMajorityIsLost(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		for i := range 2 {
			r.Put(i, "lock:k", "another's", time.Minute)
		}
		if v := extend(t, h, 30*time.Second); v != Extended {
			t.Errorf("taken on two of five: %v", v)
		}
		harness.Eventually(t, "all have answered", h.landed)
		r.Put(4, "lock:k", "another's", time.Minute)
		err := h.ExtendNow(context.Background(), 30*time.Second)
		lost := as[*LostError](t, err)
		if !errors.Is(err, ErrLost) || lost.Key != "k" || lost.Token != h.Token() || lost.Reason == "" || len(lost.Answers) != 5 {
			t.Errorf("%+v", lost)
		}
		for i, a := range lost.Answers {
			if taken := i < 2 || i == 4; taken && a.Result == Refused && a.Holder != "another library" {
				t.Errorf("node %d: %+v", i, a)
			}
		}
		if err := h.Release(context.Background()); !errors.Is(err, ErrLost) {
			t.Errorf("release: %v", err)
		}
		harness.Eventually(t, "what was ours is released", func() bool { return slices.Equal(r.Having("lock:k"), []int{0, 1, 4}) })
	})
}

func TestExtend_SilenceLeavesTheDeadline(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		c := r.open(impatient)
		red := r.redlock(c, Config{TTL: 30 * time.Second})
		h := acquireEverywhere(t, red, "k", Request{})
		before := h.Deadline()
		r.pause(0, 1, 2)
		for range 2 { // first they time out, then they are known to be down
			if v := extend(t, h, 30*time.Second); v != Undecided {
				t.Errorf("verdict = %v", v)
			}
			quorum := as[*nodeset.QuorumError](t, h.ExtendNow(context.Background(), 30*time.Second))
			if quorum.Op != "extend" || quorum.Key != "k" || quorum.Need != 3 || quorum.Got != 2 || len(quorum.Nodes) != 3 {
				t.Errorf("%+v", quorum)
			}
		}
		if h.Deadline() != before {
			t.Error("the deadline moved")
		}
		r.resume(0, 1, 2)
		harness.Eventually(t, "the nodes are back and the hold is extended", func() bool { return extend(t, h, 30*time.Second) == Extended })
		if !h.Deadline().After(before) {
			t.Error("the deadline has not moved")
		}
		must(t, h.Release(context.Background()))
		r.goneEverywhere(c, "lock:k")
	})
}

func TestExtend_AShorterTTLAppliesAtOnce(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(r.open(patient), Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		r.pause(0, 1, 2)
		verdict := round(h, 5*time.Second)
		if latest := nodeset.Deadline(time.Now(), 5*time.Second); h.Deadline().After(latest) {
			t.Errorf("the deadline is %v too late", h.Deadline().Sub(latest))
		}
		r.resume(0, 1, 2)
		if v := harness.Receive(t, "the verdict", verdict); v != Extended {
			t.Errorf("verdict = %v", v)
		}
		_ = h.Release(context.Background())
	})
}

func TestExtend_RepliesAfterTheDeadlineDoNotCount(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: 2 * time.Second})
		warm(t, red)
		for _, now := range []bool{true, false} {
			h := acquireEverywhere(t, red, "k", Request{})
			deadline := h.Deadline()
			for _, c := range r.Clients { // the nodes' clocks are slow
				c.PExpire(context.Background(), "lock:k", time.Minute)
			}
			r.pause(0, 1, 2)
			if now {
				err := h.ExtendNow(context.Background(), 30*time.Second)
				if lost := as[*LostError](t, err); lost.Reason != "expired" || time.Now().Before(deadline) {
					t.Errorf("%v, %v before the deadline", err, time.Until(deadline))
				}
			}
			verdict := round(h, 30*time.Second)
			harness.Past(deadline)
			r.resume(0, 1, 2)
			// If the round of ExtendNow is under way still, no node is asked.
			if v := harness.Receive(t, "the verdict", verdict); v != Late && !(now && v == Undecided) {
				t.Errorf("verdict = %v", v)
			}
			if h.Deadline() != deadline {
				t.Error("a deadline that had passed moved")
			}
			if err := h.Release(context.Background()); !errors.Is(err, ErrLost) {
				t.Errorf("release: %v", err)
			}
			harness.Eventually(t, "the key is given back", func() bool { return len(r.Having("lock:k")) == 0 })
		}
		r.goneEverywhere(c, "lock:k")
	})
}

// Two nodes have taken a short TTL by the time in which the three others, asked earlier, take a long one: nothing lasts
// as long as the long one on a quorum.
func TestExtend_AReplacedRoundDoesNotCount(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: 20 * time.Second})
		h := acquireEverywhere(t, red, "k", Request{})
		r.pause(2, 3, 4)
		first := round(h, 30*time.Second)
		harness.Eventually(t, "two nodes have answered", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.members[0].inFlight == 0 && h.members[1].inFlight == 0
		})
		second := round(h, 5*time.Second)
		short := h.Deadline()
		if v := harness.Receive(t, "the first verdict", first); v != Undecided {
			t.Errorf("the round that was replaced: %v", v)
		}
		if v := harness.Receive(t, "the second verdict", second); v != Undecided {
			t.Errorf("the round that could ask two nodes only: %v", v)
		}
		r.resume(2, 3, 4)
		harness.Eventually(t, "all have answered", h.landed)
		if h.Deadline() != short {
			t.Errorf("the deadline moved by %v on the word of nodes of two rounds", h.Deadline().Sub(short))
		}
		if len(first)+len(second) > 0 {
			t.Error("a round was settled twice")
		}
		must(t, h.Release(context.Background()))
		r.goneEverywhere(c, "lock:k")
	})
}

func TestExtend_RepliesToAReplacedRoundDoNotCountForTheNext(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: 20 * time.Second})
		h := acquireEverywhere(t, red, "k", Request{})
		answered := func(nodes ...int) func() bool {
			return func() bool {
				h.mu.Lock()
				defer h.mu.Unlock()
				return !slices.ContainsFunc(nodes, func(i int) bool { return h.members[i].inFlight > 0 })
			}
		}
		r.pause(2, 3, 4)
		first := round(h, 30*time.Second)
		harness.Eventually(t, "two nodes have answered", answered(0, 1))
		r.pause(0)
		second := round(h, 5*time.Second)
		short := h.Deadline()
		if v := harness.Receive(t, "the first verdict", first); v != Undecided {
			t.Errorf("the round that was replaced: %v", v)
		}
		r.resume(2, 3, 4)
		harness.Eventually(t, "the others have answered the first round", answered(1, 2, 3, 4))
		if h.Deadline() != short {
			t.Errorf("the deadline moved by %v on answers to the round that was replaced", h.Deadline().Sub(short))
		}
		if len(first) > 0 {
			t.Error("the round that was replaced was settled twice")
		}
		r.resume(0)
		if v := harness.Receive(t, "the second verdict", second); v != Undecided {
			t.Errorf("the round that could ask two nodes only: %v", v)
		}
		must(t, h.Release(context.Background()))
		r.goneEverywhere(c, "lock:k")
	})
}

func TestExtend_HealedNodesDoNotReviveALostKey(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		for i := range 3 {
			r.Clients[i].Del(context.Background(), "lock:k")
		}
		for i := range 3 { // from the second round on all nodes have the key
			if v := extend(t, h, 30*time.Second); v != Over {
				t.Errorf("round %d: %v", i, v)
			}
			harness.Eventually(t, "all have answered", h.landed)
		}
		if err := h.Release(context.Background()); !errors.Is(err, ErrLost) {
			t.Errorf("release: %v", err)
		}
	})
}

func TestExtendNow_SaysWhyNot(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		for _, ttl := range []time.Duration{0, -1, 9 * time.Millisecond, 61 * time.Second} {
			if err := h.ExtendNow(ctx, ttl); !errors.Is(err, nodeset.ErrConfig) {
				t.Errorf("TTL %v: %v", ttl, err)
			}
		}
		dead, cancel := context.WithCancel(ctx)
		cancel()
		before := r.scripts(0)
		if err := h.ExtendNow(dead, 30*time.Second); !errors.Is(err, context.Canceled) || r.scripts(0) != before {
			t.Errorf("dead context: %v, and %d requests", err, r.scripts(0)-before)
		}
		must(t, h.ExtendNow(ctx, 30*time.Second))
		harness.Eventually(t, "the third answer", h.landed)
		r.pause(0, 1, 2)
		cancelled, cancel := context.WithCancel(ctx)
		extending := harness.Watch(cancelled)
		failed := harness.Async(func() error { return h.ExtendNow(extending, 30*time.Second) })
		harness.Receive(t, "it waits", extending.Waiting)
		cancel()
		if err := harness.Receive(t, "the error", failed); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		quorum := as[*nodeset.QuorumError](t, h.ExtendNow(ctx, 30*time.Second)) // nobody is asked again yet
		if quorum.Got != 0 || len(quorum.Nodes) != 3 {
			t.Errorf("%+v", quorum)
		}
		r.resume(0, 1, 2)
		harness.Eventually(t, "the answers", h.landed)
		must(t, h.ExtendNow(ctx, 30*time.Second))
		must(t, h.Release(ctx))
		r.goneEverywhere(c, "lock:k")
		before = r.scripts(0)
		if err := h.ExtendNow(ctx, 30*time.Second); !errors.Is(err, ErrReleased) {
			t.Errorf("after the release: %v", err)
		}
		h.Extend(30*time.Second, func(v Verdict) { t.Errorf("after the release: %v", v) })
		if r.scripts(0) != before {
			t.Error("a released hold was extended")
		}
		r.goneEverywhere(c, "lock:k")
	})
}

// The release comes while a round is under way, which on one node, that had refused, brings the key.
func TestRelease_DuringARenewalRoundLeavesNothing(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: lasting})
		r.Put(2, "lock:k", "another's", time.Minute)
		h := acquireEverywhere(t, red, "k", Request{})
		if got, want := results(h), []Result{Granted, Granted, Refused}; !slices.Equal(got, want) {
			t.Fatalf("answers = %v, want %v", got, want)
		}
		r.Clients[2].Del(ctx, "lock:k")
		r.pause(2)
		if v := extend(t, h, 30*time.Second); v != Extended {
			t.Fatalf("verdict = %v", v)
		}
		must(t, h.Release(ctx))
		r.resume(2)
		harness.Eventually(t, "all have answered", h.landed)
		if got := results(h)[2]; got != Healed {
			t.Errorf("the node that had refused: %v, want healed", got)
		}
		r.goneEverywhere(c, "lock:k")
	})
}

// No node is asked to release: each says, to the round that is under way, that the key is another's.
func TestRelease_EndsIfARenewalRoundFindsTheKeyTaken(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		red := r.redlock(r.open(patient), Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		for i := range 3 {
			r.Put(i, "lock:k", "another's", time.Minute)
		}
		r.pause(0, 1, 2)
		waiting := harness.Watch(ctx)
		extended := harness.Async(func() error { return h.ExtendNow(waiting, 30*time.Second) })
		harness.Receive(t, "the round is under way", waiting.Waiting)
		must(t, h.StartRelease())
		if err := harness.Receive(t, "the end of the round", extended); !errors.Is(err, ErrReleased) {
			t.Errorf("ExtendNow = %v", err)
		}
		released := harness.Async(func() error { return h.AwaitRelease(ctx) })
		r.resume(0, 1, 2)
		if err := harness.Receive(t, "the end of the release", released); !errors.Is(err, ErrLost) {
			t.Errorf("Release = %v", err)
		}
	})
}

func TestAbort_EndsARenewalRound(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		r.pause(0, 1, 2)
		h.Extend(30*time.Second, func(v Verdict) { t.Errorf("settled as %v", v) })
		h.Abort(errors.New("for a test"))
		h.Abort(errors.New("twice"))
		if err := h.Release(context.Background()); !errors.Is(err, ErrReleased) {
			t.Errorf("release: %v", err)
		}
		r.resume(0, 1, 2)
		r.goneEverywhere(c, "lock:k")
	})
}

// A node that was down when the key was acquired takes part from when it is back.
func TestExtend_BringsTheKeyToNodesThatWereDown(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{TTL: lasting})
		r.Stop(2)
		harness.Eventually(t, "it is known to be down", func() bool {
			h := acquireEverywhere(t, red, "other", Request{})
			_ = h.Release(context.Background())
			return !c.Status()[2].Up
		})
		h := acquireEverywhere(t, red, "k", Request{})
		if got := results(h)[2]; got != Unasked {
			t.Errorf("the node that is down: %v", got)
		}
		if v := extend(t, h, 30*time.Second); v != Extended {
			t.Errorf("verdict = %v", v)
		}
		if got := results(h)[2]; got != Unasked {
			t.Errorf("the node that is still down: %v", got)
		}
		if err := r.Restart(2, true); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "it has the key", func() bool {
			return extend(t, h, 30*time.Second) == Extended && slices.Equal(r.Having("lock:k"), []int{0, 1, 2})
		})
		must(t, h.Release(context.Background()))
		r.goneEverywhere(c, "lock:k")
	})
}
