package waitqueue

import (
	"context"
	"math/rand"
	"testing"
	"time"
)

const limitShare = 10 * time.Millisecond

func enterLimited(t *testing.T, qs *Queues, w Want) (*Queue, *Caller) {
	t.Helper()
	q, c, ok := qs.EnterLimited("a", Request{Want: w, Parent: context.Background()}, true)
	if !ok {
		t.Fatal("a caller that waits was refused")
	}
	return q, c
}

func TestLimited_OneCallerAsksWhileOthersHold(t *testing.T) {
	qs := New(3, 2)
	q, first := enterLimited(t, qs, Want{Limit: 2})
	if first != nil {
		t.Fatal("the first caller waits")
	}
	_, second := enterLimited(t, qs, Want{Limit: 2})
	if second == nil {
		t.Fatal("two callers ask")
	}
	q.Asked(true, true)
	if lease := turn(t, second); lease != nil {
		t.Fatalf("the second was handed %v", lease)
	}
	qs.Free(second)
	q.Asked(true, true)
	if q.Held() != 2 {
		t.Errorf("%d are held", q.Held())
	}
	_, third := enterLimited(t, qs, Want{Limit: 2})
	if third != nil {
		t.Fatal("nobody asks while two hold")
	}
	q.Asked(true, false)
	q.Ended()
	q.Ended()
	if qs.Keys() != 0 {
		t.Error("a queue is left")
	}
}

func TestLimited_CallersThatDoNotWaitAskUntilTheNodesHaveRefused(t *testing.T) {
	qs := New(3, 2)
	q, _ := enterLimited(t, qs, Want{Limit: 2})
	c := qs.ContendLimited("a")
	_, place, ok := qs.EnterLimited("a", Request{}, false)
	if !ok || place != nil {
		t.Fatal("a caller that does not wait is refused while it is not known that all slots are taken")
	}
	q.Asked(false, true)
	qs.Attempts(c)
	qs.Pauses(c, now, true)
	if _, _, ok := qs.EnterLimited("a", Request{Want: Want{Limit: 2}}, false); !ok {
		t.Fatal("a caller that does not wait is refused although votes were only split")
	}
	q.Asked(false, false)
	qs.Attempts(c)
	qs.Pauses(c, now, false)
	if _, _, ok := qs.EnterLimited("a", Request{Want: Want{Limit: 2}}, false); ok {
		t.Error("a caller that does not wait asks although the nodes have just refused")
	}
	qs.Leave(c, false, func(bool) {})
	q.Asked(true, false)
	q.Ended()
	if qs.Keys() != 0 {
		t.Error("a queue is left")
	}
}

func TestLimited_HandOver_ServesTheFirstThatWantsTheSame(t *testing.T) {
	same, other := Want{Limit: 2, Owner: "me"}, Want{Limit: 2, Owner: "other"}
	begin := func(asker Want) (*Queues, *Queue, *Contender) {
		qs := New(3, 2)
		q, _ := enterLimited(t, qs, asker)
		c := qs.ContendLimited("a")
		qs.Attempts(c)
		return qs, q, c
	}
	_, q, _ := begin(other)
	_, behind := enterLimited(t, q.qs, same)
	_, odd := enterLimited(t, q.qs, other)
	_, last := enterLimited(t, q.qs, same)
	if !q.HandOverSlot(same, now, limitShare, give("zero")) || turn(t, behind) != "zero" {
		t.Error("while another asks, the next is not served")
	}
	if q.HandOverSlot(same, now, limitShare, give("one")) || len(odd.Turn)+len(last.Turn) > 0 {
		t.Error("a caller that wants another lease is overtaken, or served")
	}
	qs, q, c := begin(other)
	_, behind = enterLimited(t, qs, same)
	qs.Pauses(c, now, false)
	if q.HandOverSlot(same, now.Add(limitShare), limitShare, give("one")) {
		t.Error("the caller that waits at the nodes for another lease is overtaken for ever")
	}
	if !q.HandOverSlot(same, now.Add(limitShare-1), limitShare, give("one")) || turn(t, behind) != "one" {
		t.Error("a caller is not served beside one that waits at the nodes for another lease")
	}
	qs, q, c = begin(same)
	_, behind = enterLimited(t, qs, same)
	if !q.HandOverSlot(same, now, limitShare, give("one")) || turn(t, behind) != "one" {
		t.Error("while the first asks, the next that wants the same is not served")
	}
	if q.HandOverSlot(same, now, limitShare, give("two")) {
		t.Error("handed over to a caller that is asking")
	}
	qs.Pauses(c, now, false)
	_, behind = enterLimited(t, qs, same)
	if !q.HandOverSlot(same, now.Add(limitShare/2), limitShare, give("three")) || turn(t, behind) != "three" {
		t.Error("the caller that waits at the nodes leaves its place for each release")
	}
	_, behind = enterLimited(t, qs, same)
	if !q.HandOverSlot(same, now.Add(limitShare), limitShare, give("four")) || len(behind.Turn) > 0 || !qs.HandedOver(c) {
		t.Error("the caller that waits at the nodes is overtaken for ever")
	}
	if got, _ := qs.Attempts(c); got != "four" {
		t.Errorf("it is handed %v", got)
	}
	qs.Pauses(c, now, false)
	qs.NoteRemoteWait("a", now)
	if !q.HandOverSlot(same, now.Add(limitShare-1), limitShare, give("five")) {
		t.Error("not handed over before the share of others begins")
	}
	if q.HandOverSlot(same, now.Add(limitShare), limitShare, give("six")) {
		t.Error("handed over although another process has waited")
	}
	q.Granted(now.Add(1), now.Add(1), false)
	if q.HandOverSlot(same, now.Add(time.Hour), limitShare, give(nil)) {
		t.Error("a lease that cannot go on is handed over")
	}
}

func TestLimited_AWaitThatIsAnnouncedDuringAnAttemptIsKept(t *testing.T) {
	want := Want{Limit: 2}
	for name, test := range map[string]struct {
		announce func(qs *Queues, q *Queue)
		kept     bool
	}{
		"before it":                 {func(qs *Queues, q *Queue) { qs.NoteRemoteWait("a", now.Add(-1)); q.BeginAttempt(false, now) }, false},
		"during it":                 {func(qs *Queues, q *Queue) { q.BeginAttempt(false, now); qs.NoteRemoteWait("a", now.Add(1)) }, true},
		"before it, and during it":  {func(qs *Queues, q *Queue) { qs.NoteRemoteWait("a", now.Add(-1)); qs.NoteRemoteWait("a", now.Add(1)) }, true},
		"by a gap during it":        {func(qs *Queues, q *Queue) { qs.Gap(0, now.Add(1)) }, true},
		"to a process that is deaf": {func(qs *Queues, q *Queue) { q.BeginAttempt(true, now) }, true},
	} {
		qs := New(3, 2)
		q, _ := enterLimited(t, qs, want)
		test.announce(qs, q)
		q.Granted(now, now.Add(2), false)
		q.Asked(true, true)
		enterLimited(t, qs, want) // asks
		enterLimited(t, qs, want)
		if q.HandOverSlot(want, now.Add(time.Hour), limitShare, give("lease")) == test.kept {
			t.Errorf("announced %s: handed over an hour later: %t", name, !test.kept)
		}
	}
}

func TestLimited_NoWait_IsNotRefusedForTheWaitOfAnotherLimit(t *testing.T) {
	qs := New(3, 2)
	enterLimited(t, qs, Want{Limit: 2})
	qs.Pauses(qs.ContendLimited("a"), now, false)
	if _, _, ok := qs.EnterLimited("a", Request{Want: Want{Limit: 3}}, false); !ok {
		t.Error("a caller of another limit is told that all slots are taken")
	}
	if _, _, ok := qs.EnterLimited("a", Request{Want: Want{Limit: 2}}, false); ok {
		t.Error("a caller asks although the nodes have just refused")
	}
}

func TestLimited_AWakeNamesTheSlotToAskFor(t *testing.T) {
	qs := New(3, 2)
	enterLimited(t, qs, Want{Limit: 2})
	c := qs.ContendLimited("a")
	if qs.Turn(0, "a") {
		t.Error("the turn for the whole key is for a caller with a limit")
	}
	if !qs.TurnSlot(0, "a", 7) || !qs.TurnSlot(1, "a", 0) {
		t.Error("nobody takes the turn")
	}
	if missing, _, _ := qs.Missing(c); missing != 0 {
		t.Errorf("%d nodes are missing", missing)
	}
	if _, slot := qs.Attempts(c); slot != 7 {
		t.Errorf("slot %d", slot)
	}
	if _, slot := qs.Attempts(c); slot != 0 {
		t.Errorf("slot %d of a wake that was used", slot)
	}
	if qs.TurnSlot(0, "b", 1) {
		t.Error("somebody waits for another key")
	}
}

// Whatever callers, leases and other processes do: nobody is lost, and nothing is
// left.
func TestLimited_AnyOrderOfEventsServesEveryCaller(t *testing.T) {
	for seed := range int64(3000) {
		random := rand.New(rand.NewSource(seed))
		qs := New(3, 2)
		want := Want{Limit: 3}
		var q *Queue
		var waiting []*Caller
		var asker *Contender
		served, entered, held := 0, 0, 0
		promote := func() {
			for i := 0; i < len(waiting); i++ {
				if c := waiting[i]; len(c.Turn) > 0 {
					if lease := <-c.Turn; lease != nil {
						served++
					} else if asker != nil {
						t.Fatalf("seed %d: two ask", seed)
					} else {
						asker = qs.ContendLimited("a")
						qs.Attempts(asker)
					}
					qs.Free(c)
					waiting = append(waiting[:i], waiting[i+1:]...)
					i--
				}
			}
		}
		finish := func(granted bool) {
			handed, _ := qs.Attempts(asker)
			switch {
			case handed != nil:
				served++
				granted = false
			case granted:
				served, held = served+1, held+1
			default:
				entered--
			}
			qs.Leave(asker, false, func(bool) {})
			asker = nil
			q.Asked(true, granted)
		}
		for step := 0; step < 80 || asker != nil || held > 0 || len(waiting) > 0; step++ {
			switch event := random.Intn(7); {
			case event < 2 && step < 80:
				var c *Caller
				if q, c = enterLimited(t, qs, want); c != nil {
					waiting = append(waiting, c)
				} else {
					asker = qs.ContendLimited("a")
					qs.Attempts(asker)
				}
				entered++
			case event == 2 && asker != nil:
				if held < 3 {
					finish(true)
				} else {
					qs.Pauses(asker, now, random.Intn(2) == 0)
				}
			case event == 3 && asker != nil && qs.HandedOver(asker):
				finish(false)
			case event == 4 && asker != nil && random.Intn(3) == 0:
				finish(false)
			case event == 5 && held > 0:
				if !q.HandOverSlot(want, now.Add(time.Duration(random.Intn(20))*time.Millisecond), limitShare, give("lease")) {
					held--
					q.Ended()
				}
			case event == 6 && len(waiting) > 0:
				i := random.Intn(len(waiting))
				if lease := q.GiveUp(waiting[i]); lease != nil {
					t.Fatalf("seed %d: a caller that was not served had %v", seed, lease)
				}
				waiting = append(waiting[:i], waiting[i+1:]...)
				entered--
			}
			promote()
		}
		if served != entered || qs.Keys() != 0 {
			t.Fatalf("seed %d: %d of %d callers are served, and %d queues left", seed, served, entered, qs.Keys())
		}
	}
}
