package quorumlock

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// hold acquires a slot of k, and waits until every node has answered.
func hold(t *testing.T, red *Redlock, limit int) *Hold {
	t.Helper()
	return acquireEverywhere(t, red, "k", Request{Limit: limit})
}

func TestLimit_AsManyHoldAKeyAndNoMore(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, other, ctx := r.redlock(nil, Config{Owner: "first"}), r.redlock(nil, Config{Owner: "second"}), t.Context()
		for _, limit := range []int{1, 2, 5} {
			holds, slots := []*Hold{}, map[int]bool{}
			for i := range limit {
				h := hold(t, []*Redlock{red, other}[i%2], limit)
				if slots[h.Slot()] || h.Slot() < 0 || h.Slot() >= limit {
					t.Errorf("Limit(%d): slot %d is given beside %v", limit, h.Slot(), slots)
				}
				slots[h.Slot()] = true
				holds = append(holds, h)
			}
			_, err := other.Acquire(ctx, "k", Request{Limit: limit})
			held := as[*NotAcquiredError](t, err)
			if held.Class != ClassHeld || held.Split || !strings.Contains(held.Reason, "Limit(") || held.Holder == "" || held.FreeIn <= 0 {
				t.Errorf("Limit(%d): one more is refused with %+v", limit, held)
			}
			free := holds[len(holds)/2]
			must(t, free.Release(ctx))
			h := hold(t, other, limit)
			if h.Slot() != free.Slot() {
				t.Errorf("Limit(%d): slot %d is given, and %d is free", limit, h.Slot(), free.Slot())
			}
			must(t, h.Release(ctx))
			for _, one := range holds {
				if one != free {
					must(t, one.Release(ctx))
				}
			}
			r.goneEverywhereButFences("lock:k")
		}
	})
}

// goneEverywhereButFences waits until no node has anything of a lock but its
// counter.
func (r *rig) goneEverywhereButFences(lock string) {
	r.t.Helper()
	harness.Eventually(r.t, "nothing is left but the counter", func() bool {
		for i := range r.Len() {
			for _, key := range r.Keys(i, "*"+lock+"*") {
				if key != Companion(lock, "fence") {
					return false
				}
			}
		}
		return true
	})
}

func TestLimit_TokensAreUniqueAndGrowWithinASlot(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		const limit = 20 // more than there are classes
		red, seen, newest := r.redlock(nil, Config{}), map[int64]int{}, map[int]int64{}
		take := func(h *Hold, token int64) {
			if slot, twice := seen[token]; twice {
				t.Fatalf("slots %d and %d have token %d", slot, h.Slot(), token)
			}
			if classes := int64(Classes(limit)); token%classes != int64(h.Slot())%classes {
				t.Fatalf("slot %d has token %d of another class", h.Slot(), token)
			}
			if token <= newest[h.Slot()] {
				t.Fatalf("slot %d: token %d after %d", h.Slot(), token, newest[h.Slot()])
			}
			seen[token], newest[h.Slot()] = h.Slot(), token
		}
		var holds []*Hold
		for round := range 3 {
			for range limit {
				h := acquire(t, red, "k", Request{Limit: limit, TokenBlock: 3, Start: 1})
				take(h, h.Token())
				for token, ok := h.NextToken(); ok; token, ok = h.NextToken() {
					take(h, token)
				}
				holds = append(holds, h)
			}
			if len(seen) != (round+1)*limit*3 {
				t.Fatalf("%d tokens", len(seen))
			}
			for _, h := range holds {
				must(t, h.Release(t.Context()))
			}
			holds = nil
		}
		h := acquire(t, red, "k", Request{})
		for token := range seen {
			if token >= h.Token() {
				t.Fatalf("the exclusive lock that follows has token %d, and a slot had %d", h.Token(), token)
			}
		}
	})
}

func TestLimit_AnotherLimitAndExclusiveLocksAreKeptOut(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, other, ctx := r.redlock(nil, Config{}), r.redlock(nil, Config{}), t.Context()
		h := hold(t, red, 2)
		_, err := other.Acquire(ctx, "k", Request{Limit: 3})
		if err == nil || !errors.Is(err, nodeset.ErrConfig) || errors.Is(err, ErrNotAcquired) ||
			!strings.Contains(err.Error(), "Limit(2)") || !strings.Contains(err.Error(), "3") {
			t.Errorf("another limit: %v", err)
		}
		_, err = other.Acquire(ctx, "k", Request{})
		if held := as[*NotAcquiredError](t, err); held.Holder != "holders of Limit(2)" || held.Split {
			t.Errorf("an exclusive lock: %+v", held)
		}
		must(t, h.Release(ctx))
		exclusive := acquireEverywhere(t, other, "k", Request{})
		_, err = red.Acquire(ctx, "k", Request{Limit: 2})
		if held := as[*NotAcquiredError](t, err); held.Split || held.Class != ClassHeld {
			t.Errorf("beside an exclusive lock: %+v", held)
		}
		must(t, exclusive.Release(ctx))
		must(t, hold(t, red, 3).Release(ctx))
	})
}

func TestLimit_TheMarkerLivesAsLongAsTheLongestSlot(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{}), t.Context()
		left := func() time.Duration { return r.Clients[0].PTTL(ctx, "lock:k").Val() }
		long := acquire(t, red, "k", Request{Limit: 3, TTL: lasting})
		short := acquire(t, red, "k", Request{Limit: 3, TTL: lasting / 4})
		if got := left(); got < lasting/2 {
			t.Errorf("the marker has %v left after a slot of %v beside one of %v", got, lasting/4, lasting)
		}
		must(t, short.ExtendNow(ctx, lasting/4))
		if got := left(); got < lasting/2 {
			t.Errorf("the marker has %v left after the shorter slot was renewed", got)
		}
		must(t, long.Release(ctx))
		if got := left(); got > lasting/3 {
			t.Errorf("the marker has %v left when the longest slot is released", got)
		}
		must(t, short.ExtendNow(ctx, lasting))
		if got := left(); got < lasting/2 {
			t.Errorf("the marker has %v left after a renewal for %v", got, lasting)
		}
	})
}

func TestLimit_RenewalHealsANodeThatLostTheSlotAndTakesNoOthers(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{}), t.Context()
		one, two := hold(t, red, 2), hold(t, red, 2)
		r.Flush(0)
		must(t, one.ExtendNow(ctx, lasting))
		harness.Eventually(t, "the node has the slot again", func() bool { return slices.Contains(results(one), Healed) })
		must(t, one.ExtendNow(ctx, lasting))
		harness.Eventually(t, "and says so", func() bool { return !slices.Contains(results(one), Healed) && one.landed() })

		// Another has taken the other slot there meanwhile.
		stranger := r.take(0, "stranger/1/", 2, two.Slot())
		must(t, two.ExtendNow(ctx, lasting))
		harness.Eventually(t, "every node has answered", two.landed)
		if got := results(two)[0]; got != Refused {
			t.Errorf("the node answers %v", got)
		}
		if got := r.Clients[0].HGet(ctx, Companion("lock:k", "slots"), "stranger/1/").Val(); got != stranger {
			t.Errorf("the other is in slot %q", got)
		}
		must(t, one.Release(ctx))
		must(t, two.Release(ctx))
	})
}

// take has a value take a slot on one node, and returns the number of the slot.
func (r *rig) take(node int, value string, limit, start int) (slot string) {
	r.t.Helper()
	h := &Hold{lock: "lock:k", limit: &limited{n: limit}}
	reply, err := r.Clients[node].Eval(context.Background(), slotAcquireSource, limitNames(h.lock),
		value, lasting.Milliseconds(), h.limit.step(), time.Now().UnixMicro(), "stranger/s", scriptRetention, scriptMaxTTL,
		h.limit.marker(), limit, start, value[:1]+"x", h.limit.step(), 0, "").Result()
	must(r.t, err)
	words, _ := reply.([]any)
	if len(words) != 6 {
		r.t.Fatalf("the node answers %v", reply)
	}
	return r.Clients[node].HGet(context.Background(), Companion("lock:k", "slots"), value).Val()
}

func TestLimit_VotesForSeveralSlotsDoNotAddUp(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{}), t.Context()
		warm(t, red)
		r.take(0, "a/1/", 2, 0) // slot 0 on one node, and slot 1 on another
		r.take(1, "b/1/", 2, 1)
		r.take(2, "c/1/", 2, 0)
		r.take(2, "d/1/", 2, 1)
		_, err := red.Acquire(ctx, "k", Request{Limit: 2})
		held := as[*NotAcquiredError](t, err)
		if !held.Split || held.Got > 1 || held.next == 0 {
			t.Errorf("refused with %+v", held)
		}
		harness.Eventually(t, "what was granted is given back", func() bool {
			for i := range 2 {
				if n := r.Clients[i].ZCard(ctx, Companion("lock:k", "until")).Val(); n != 1 {
					return false
				}
			}
			return true
		})
	})
}

func TestLimit_GrantsOfOtherSlotsAreGivenBack(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{}), t.Context()
		warm(t, red)
		r.take(0, "stranger/1/", 2, 0)
		h := acquireEverywhere(t, red, "k", Request{Limit: 2, Start: 1})
		if h.Slot() != 0 {
			t.Fatalf("it has slot %d", h.Slot())
		}
		slots := Companion("lock:k", "slots")
		there := true
		for i := 0; there && i < 20; i++ { // each acquisition comes behind what was sent before
			must(t, acquireEverywhere(t, red, "other", Request{}).Release(ctx))
			there = r.Clients[0].HExists(ctx, slots, h.Value()).Val()
		}
		if there {
			t.Fatal("the other slot is not given back")
		}
		h2 := acquireEverywhere(t, red, "k", Request{Limit: 2, Start: 2})
		if h2.Slot() != 1 {
			t.Fatalf("the second has slot %d", h2.Slot())
		}
		must(t, h2.Release(ctx))

		// The same where the message is lost: the renewal leaves the slot.
		must(t, r.Clients[0].Del(ctx, "lock:k").Err())
		must(t, r.Clients[0].Del(ctx, slots, Companion("lock:k", "until")).Err())
		r.take(0, h.Value(), 2, 1)
		must(t, h.ExtendNow(ctx, lasting))
		harness.Eventually(t, "every node has answered", h.landed)
		if got := r.Clients[0].HGet(ctx, slots, h.Value()).Val(); got != "0" {
			t.Errorf("it has slot %q on the node", got)
		}
		if n := r.Clients[0].ZCard(ctx, Companion("lock:k", "until")).Val(); n != 1 {
			t.Errorf("%d slots are taken on the node", n)
		}
		must(t, h.Release(ctx))
	})
}

func TestLimit_ExpiredSlotsAreFreed(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{}), t.Context()
		long := hold(t, red, 2)
		short := acquireEverywhere(t, red, "k", Request{Limit: 2, TTL: 50 * time.Millisecond})
		h := acquire(t, red, "k", Request{Limit: 2})
		if h.Slot() != short.Slot() || h.Slot() == long.Slot() {
			t.Errorf("slot %d is given; %d has expired", h.Slot(), short.Slot())
		}
		if err := short.ExtendNow(ctx, lasting); !errors.Is(err, ErrLost) {
			t.Errorf("the slot that was given to another is renewed: %v", err)
		}
		for i := range r.Len() {
			if n := r.Clients[i].ZCard(ctx, Companion("lock:k", "until")).Val(); n > 2 {
				t.Errorf("node %d has %d slots", i, n)
			}
		}
	})
}

func TestLimit_RequestsThatCannotBe(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		for _, req := range []Request{{Limit: -1}, {Limit: MaxLimit + 1}, {Limit: 16, TokenBlock: MaxTokenBlock/16 + 1}, {Limit: 2, Handle: &Handle{}}} {
			if _, err := red.Acquire(t.Context(), "k", req); !errors.Is(err, nodeset.ErrConfig) {
				t.Errorf("%+v: %v", req, err)
			}
		}
	})
}

func TestReadSlotGrant_TakesNothingElseForAGrant(t *testing.T) {
	one := int64(1)
	good := []any{one, int64(40), int64(0), int64(3), "00000000", int64(7)}
	if granted, g, err := readSlotGrant(good, nil, 4, 4); !granted || err != nil || g.slot != 3 || g.fence != 40 || g.slots != "00000000" || g.left != 7*time.Millisecond {
		t.Errorf("a grant is read as %t, %+v, %v", granted, g, err)
	}
	left := int64(-1)
	for _, bad := range []any{nil, int64(1), []any{}, []any{one, int64(40), int64(0)}, []any{one, int64(40), int64(0), int64(4), "", left},
		[]any{one, int64(40), int64(0), int64(-1), "", left}, []any{one, int64(40), int64(0), "3", "", left}, []any{one, int64(40), int64(0), int64(3)},
		[]any{one, int64(3), int64(0), int64(3), "", left}, []any{one, int64(40), int64(0), int64(3), "0000000", left}, []any{one, int64(40), int64(0), int64(3), "0000", left},
		[]any{one, int64(40), int64(0), int64(3), int64(0), left}, []any{one, int64(40), int64(0), int64(3), ""}, []any{one, int64(40), int64(0), int64(3), "", "-1"},
		[]any{int64(0), int64(1), "x", int64(0)}, []any{int64(0), int64(1), "x", "", ""}, []any{int64(2), int64(1), "x", ""}} {
		if granted, _, err := readSlotGrant(bad, nil, 4, 4); granted || err == nil {
			t.Errorf("%v is read as granted: %t, %v", bad, granted, err)
		}
	}
	if granted, g, err := readSlotGrant([]any{int64(0), int64(7), "x", "Aa00BbBb"}, nil, 4, 4); granted || err != nil || g.holder != "x" || g.left != 7*time.Millisecond {
		t.Errorf("a refusal is read as %t, %+v, %v", granted, g, err)
	}
}

func TestLimit_InspectShowsEverySlotAndForceReleaseTakesThoseThatWereSeen(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{Owner: "me"}), t.Context()
		one, two := hold(t, red, 4), hold(t, red, 4)
		seen, err := red.Inspect(ctx, "k")
		must(t, err)
		if seen.State != Held || seen.Limit != 4 || len(seen.Slots) != 2 || seen.Holder.Writer != WriterLimit || seen.Token != 0 {
			t.Fatalf("seen: %+v", seen)
		}
		for _, s := range seen.Slots {
			h := one
			if s.Number == two.Slot() {
				h = two
			}
			if s.Number != h.Slot() || s.Holder.Name != "me" || s.Votes != 3 || s.Left <= 0 || s.Token != 0 && s.Token != h.Token() {
				t.Errorf("slot %+v of the holder of %d with token %d", s, h.Slot(), h.Token())
			}
		}
		all, err := red.List(ctx, "")
		must(t, err)
		if len(all) != 1 || len(all[0].Slots) != 2 {
			t.Errorf("listed: %+v", all)
		}

		both := seen.Slots
		seen.Slots = slices.DeleteFunc(slices.Clone(both), func(s Slot) bool { return s.Number != one.Slot() })
		freeIn, err := red.ForceRelease(ctx, seen, "ann")
		must(t, err)
		if freeIn <= 0 || freeIn > lasting {
			t.Errorf("it is free in %v", freeIn)
		}
		if err := one.ExtendNow(ctx, lasting); !errors.Is(err, ErrLost) || as[*LostError](t, err).Class != ClassForced {
			t.Errorf("the slot that was taken away is renewed: %v", err)
		}
		must(t, two.ExtendNow(ctx, lasting))
		three, four := hold(t, red, 4), hold(t, red, 4)
		if _, err := red.Acquire(ctx, "k", Request{Limit: 4}); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("the slot that was taken away is given before its TTL is over: %v", err)
		}
		seen.Slots = slices.DeleteFunc(both, func(s Slot) bool { return s.Number != two.Slot() })
		must(t, red.ForceReleaseNow(ctx, seen))
		if err := red.ForceReleaseNow(ctx, seen); !errors.Is(err, ErrNotHeld) {
			t.Errorf("released twice: %v", err)
		}
		five := hold(t, red, 4)
		if five.Slot() != two.Slot() {
			t.Errorf("slot %d is given", five.Slot())
		}
		for _, h := range []*Hold{three, four, five} {
			must(t, h.Release(ctx))
		}
	})
}

func TestLimit_ASlotThatWasTakenByForceCanBeReleasedAtOnce(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{Owner: "me"}), t.Context()
		one, two := acquireEverywhere(t, red, "k", Request{Limit: 2}), acquireEverywhere(t, red, "k", Request{Limit: 2})
		seen, err := red.Inspect(ctx, "k")
		must(t, err)
		_, err = red.ForceRelease(ctx, seen, "ann")
		must(t, err)
		seen, err = red.Inspect(ctx, "k")
		must(t, err)
		if err := red.ForceReleaseNow(ctx, seen); err != nil {
			t.Errorf("%d slots: %v", len(seen.Slots), err)
		}
		for range 2 {
			must(t, acquireEverywhere(t, red, "k", Request{Limit: 2}).Release(ctx))
		}
		for _, h := range []*Hold{one, two} {
			if err := h.Release(ctx); !errors.Is(err, ErrLost) {
				t.Errorf("its holder releases it with %v", err)
			}
		}
	})
}

// The first slot is on one node only, as that of an attempt that splits the votes.
func TestLimit_ForceReleaseGoesOnAfterASlotOfWhichTheReleaseFailed(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{Owner: "me"}), t.Context()
		h := acquireEverywhere(t, red, "k", Request{Limit: 2, Start: 2})
		r.take(0, "0123456789abcdef0123/x/h:1", 2, 0)
		seen, err := red.Inspect(ctx, "k")
		must(t, err)
		if len(seen.Slots) != 2 || seen.Slots[1].Number != h.Slot() {
			t.Fatalf("seen: %+v", seen.Slots)
		}
		if err := red.ForceReleaseNow(ctx, seen); !errors.Is(err, ErrMayBeAcquired) || errors.Is(err, ErrNotHeld) {
			t.Errorf("released with %v", err)
		}
		if err := h.ExtendNow(ctx, lasting); !errors.Is(err, ErrLost) {
			t.Errorf("slot %d, the second, was not released: %v", h.Slot(), err)
		}
	})
}

// Each failure is reported, and one that several slots have is reported once.
func TestLimit_ForceSlotsJoinsErrors(t *testing.T) {
	r := &Redlock{}
	same, other := errors.New("same"), errors.New("other")
	results := []error{same, nil, ErrNotHeld, same, other}
	seen := Inspection{Key: "k", Slots: make([]Slot, len(results))}
	for i := range seen.Slots {
		seen.Slots[i].Number = i
	}
	freeIn, err := r.forceSlots(t.Context(), seen, func(s Slot) (time.Duration, error) {
		return time.Duration(s.Number), results[s.Number]
	})
	if !errors.Is(err, same) || !errors.Is(err, other) || errors.Is(err, ErrNotHeld) || strings.Count(err.Error(), "same") != 1 || freeIn != 4 {
		t.Errorf("free in %v: %v", freeIn, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	if _, err = r.forceSlots(ctx, seen, func(Slot) (time.Duration, error) {
		calls++
		cancel()
		return 0, ctx.Err()
	}); calls != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d slots are asked for after the end: %v", calls, err)
	}
}
