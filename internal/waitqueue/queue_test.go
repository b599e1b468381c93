package waitqueue

import (
	"context"
	"errors"
	"math/rand"
	"slices"
	"testing"
	"time"
)

// now is any time.
var now = time.Unix(1_000_000, 0)

// enter is an Enter of a caller that waits.
func enter(t *testing.T, qs *Queues, lock string, w Want) (*Queue, *Caller) {
	t.Helper()
	q, c, _, ok := qs.Enter(lock, Request{Want: w, Parent: context.Background()}, true)
	if !ok {
		t.Fatal("a caller that waits was refused")
	}
	return q, c
}

// turn is what c was given, which must be there.
func turn(t *testing.T, c *Caller) any {
	t.Helper()
	select {
	case lease := <-c.Turn:
		return lease
	default:
		t.Fatal("its turn has not come")
		return nil
	}
}

// give is a hand-over of this lease.
func give(lease any) func(Request) any { return func(Request) any { return lease } }

func TestQueue_OneCallerAsksAndTheOthersFollowInOrder(t *testing.T) {
	qs := New(3, 2)
	q, first := enter(t, qs, "a", Want{})
	if first != nil {
		t.Fatal("the first caller waits")
	}
	var callers []*Caller
	for range 5 {
		_, c := enter(t, qs, "a", Want{})
		if c == nil {
			t.Fatal("two callers ask")
		}
		callers = append(callers, c)
	}
	if _, c, _, ok := qs.Enter("a", Request{}, false); ok || c != nil {
		t.Error("a caller that does not wait was queued")
	}
	if _, c := enter(t, qs, "b", Want{}); c != nil {
		t.Error("a caller waits for another key")
	}
	q.Refused()
	for i, c := range callers {
		if lease := turn(t, c); lease != nil {
			t.Fatalf("caller %d was handed %v", i, lease)
		}
		for _, later := range callers[i+1:] {
			if len(later.Turn) > 0 {
				t.Fatalf("caller %d was overtaken", i)
			}
		}
		qs.Free(c)
		q.Acquired(Want{})
		q.Ended()
	}
}

func TestQueue_HandOver_ServesTheFirstCallerThatWantsTheSame(t *testing.T) {
	same := Want{By: "leases", TTL: time.Second, Owner: "me"}
	for name, test := range map[string]struct {
		want   Want
		waited time.Duration // since another process waits; negative: none does
		lease  any
		handed bool
	}{
		"the same":                       {same, -1, "lease", true},
		"with another label":             {Want{By: "leases", TTL: time.Second, Owner: "you"}, -1, "lease", false},
		"with another TTL":               {Want{By: "leases", TTL: time.Minute, Owner: "me"}, -1, "lease", false},
		"of other leases":                {Want{By: "others", TTL: time.Second, Owner: "me"}, -1, "lease", false},
		"alone":                          {Want{By: "leases", TTL: time.Second, Owner: "me", Alone: true}, -1, "lease", false},
		"while another process waits":    {same, 9 * time.Millisecond, "lease", true},
		"that another process waits for": {same, 10 * time.Millisecond, "lease", false},
		"of a lease that cannot go on":   {same, -1, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			qs := New(3, 2)
			q, _ := enter(t, qs, "a", same)
			q.BeginAttempt(false, now)
			q.Acquired(same)
			if test.waited >= 0 {
				qs.NoteRemoteWait("a", now.Add(-test.waited))
				qs.NoteRemoteWait("a", now) // again, which changes nothing
			}
			_, c := enter(t, qs, "a", test.want)
			_, second := enter(t, qs, "a", same)
			if handed := q.HandOver(now, 10*time.Millisecond, give(test.lease)); handed != test.handed {
				t.Fatalf("handed over: %t", handed)
			}
			if !test.handed {
				q.Ended()
			}
			var want any // its turn to ask
			if test.handed {
				want = test.lease
			}
			if got := turn(t, c); got != want {
				t.Errorf("it was given %v, want %v", got, want)
			}
			if len(second.Turn) > 0 {
				t.Error("two callers were served")
			}
			if want := map[bool]int{true: 2, false: 1}[test.handed]; q.Used() != want {
				t.Errorf("%d tokens were used, want %d", q.Used(), want)
			}
		})
	}
}

func TestQueue_RemoteWaitIsOfTheLeaseThatIsHeldOrAskedFor(t *testing.T) {
	qs := New(3, 2)
	qs.NoteRemoteWait("a", now) // of a key that nobody here wants
	q, _ := enter(t, qs, "a", Want{})
	q.BeginAttempt(true, now)
	if !qs.Snapshot("a").RemoteWait.Equal(now) {
		t.Error("what is said before messages arrive was not taken as said")
	}
	q.BeginAttempt(false, now)
	if !qs.Snapshot("a").RemoteWait.IsZero() {
		t.Error("the next attempt inherits the wait")
	}
	qs.NoteRemoteWait("a", now)
	q.Acquired(Want{})
	if !qs.Snapshot("a").RemoteWait.Equal(now) {
		t.Error("a wait that began during the attempt was forgotten")
	}
}

func TestQueue_ALeaseThatEndedBeforeItWasTakenInPassesTheTurnOn(t *testing.T) {
	qs := New(3, 2)
	q, _ := enter(t, qs, "a", Want{})
	_, next := enter(t, qs, "a", Want{})
	q.Ended()
	if len(next.Turn) > 0 {
		t.Fatal("the next asks while the first does")
	}
	q.Acquired(Want{})
	if lease := turn(t, next); lease != nil {
		t.Errorf("the next was handed %v", lease)
	}
	q.Acquired(Want{Owner: "next"})
	if owner, held := q.Holder(); !held || owner != "next" {
		t.Errorf("held by %q: %t", owner, held)
	}
}

func TestQueue_GiveUp_LosesNeitherATurnNorALease(t *testing.T) {
	qs := New(3, 2)
	q, _ := enter(t, qs, "a", Want{})
	_, second := enter(t, qs, "a", Want{})
	_, third := enter(t, qs, "a", Want{})
	_, fourth := enter(t, qs, "a", Want{})
	if lease := q.GiveUp(third); lease != nil {
		t.Errorf("a caller that waited had %v", lease)
	}
	q.Refused() // the second's turn, which it does not see
	if lease := q.GiveUp(second); lease != nil {
		t.Errorf("a turn is no lease: %v", lease)
	}
	if lease := turn(t, fourth); lease != nil {
		t.Errorf("the turn that was passed on is %v", lease)
	}
	q.Acquired(Want{})
	_, fifth := enter(t, qs, "a", Want{})
	if !q.HandOver(now, time.Second, give("lease")) {
		t.Fatal("not handed over")
	}
	if lease := q.GiveUp(fifth); lease != "lease" {
		t.Errorf("the lease that was handed over is lost: %v", lease)
	}
}

// holding is a queue whose lease is held.
func holding(t *testing.T, qs *Queues, lock string, w Want) *Queue {
	t.Helper()
	q, _ := enter(t, qs, lock, w)
	q.BeginAttempt(false, now)
	q.Acquired(w)
	return q
}

func TestQueue_Keep_IsForAKeyThatNobodyWaitsFor(t *testing.T) {
	ends := func() bool { return true }
	for name, test := range map[string]struct {
		want    Want
		prepare func(qs *Queues)
		end     func() bool
		keeps   bool
	}{
		"nobody waits":                {Want{}, func(*Queues) {}, ends, true},
		"a contender of this process": {Want{}, func(qs *Queues) { qs.Contend("a") }, ends, false},
		"a caller with a limit asks":  {Want{}, func(qs *Queues) { enterLimited(t, qs, Want{Limit: 2}) }, ends, false},
		"one that does not wait":      {Want{}, func(qs *Queues) { qs.EnterLimited("a", Request{}, false) }, ends, false},
		"a caller waits":              {Want{}, func(qs *Queues) { enter(t, qs, "a", Want{}) }, ends, false},
		"another process waits":       {Want{}, func(qs *Queues) { qs.NoteRemoteWait("a", now) }, ends, false},
		"messages may be lost":        {Want{}, func(qs *Queues) { qs.Gap(0, now) }, ends, false},
		"a key with MinHold":          {Want{Alone: true}, func(*Queues) {}, ends, false},
		"a lease that has ended":      {Want{}, func(*Queues) {}, func() bool { return false }, false},
		"another key is asked for":    {Want{}, func(qs *Queues) { qs.NoteRemoteWait("b", now) }, ends, true},
	} {
		qs := New(3, 2)
		q := holding(t, qs, "a", test.want)
		test.prepare(qs)
		if got := q.Keep("kept", test.end); got != test.keeps {
			t.Errorf("%s: it is kept: %t", name, got)
		}
	}
}

func TestQueue_KeptIsForTheNextCallerOrThatWhichEndsIt(t *testing.T) {
	kept := func() (*Queues, *Queue) {
		qs := New(3, 2)
		q := holding(t, qs, "a", Want{})
		if !q.Keep("kept", func() bool { return true }) {
			t.Fatal("it is not kept")
		}
		return qs, q
	}
	for _, waits := range []bool{true, false} {
		qs, q := kept()
		if _, c, got, ok := qs.Enter("a", Request{}, waits); c != nil || got != "kept" || !ok {
			t.Errorf("the next caller gets %v, %v, %t", c, got, ok)
		}
		_, behind := enter(t, qs, "a", Want{}) // while the first tries what was kept
		if behind == nil {
			t.Fatal("a second caller asks as well")
		}
		if again := qs.NoteRemoteWait("a", now); again != nil {
			t.Errorf("another process is given %v as well", again)
		}
		q.KeptEnded("kept") // too late: a timer ended it
		q.Retaken()
		if q.Used() != 2 {
			t.Errorf("%d tokens are used", q.Used())
		}
		q.Ended()
		if turn(t, behind) != nil {
			t.Error("the second caller is not to ask")
		}
	}
	for name, end := range map[string]func(qs *Queues, q *Queue) any{
		"another process waits": func(qs *Queues, _ *Queue) any { return qs.NoteRemoteWait("a", now) },
		"a gap":                 func(qs *Queues, _ *Queue) any { return qs.Gap(1, now)[0] },
		"taken":                 func(qs *Queues, _ *Queue) any { return qs.TakeKept("a") },
		"its end":               func(_ *Queues, q *Queue) any { q.KeptEnded("other"); q.KeptEnded("kept"); return "kept" },
	} {
		qs, q := kept()
		if got := end(qs, q); got != "kept" || qs.Keys() != 0 || qs.TakeKept("a") != nil {
			t.Errorf("%s: %v is to be released, and %d queues are left", name, got, qs.Keys())
		}
	}
	qs, q := kept()
	qs.Enter("a", Request{}, true)
	q.Ended() // the lease was lost before Retaken
	q.Retaken()
	if qs.Keys() != 0 {
		t.Error("a lease that was lost at once holds the key for ever")
	}
}

func TestQueues_KeepNothingOfKeysThatNobodyWantsAnyMore(t *testing.T) {
	qs := New(3, 2)
	q, _ := enter(t, qs, "a", Want{})
	c := qs.Contend("a")
	q.Acquired(Want{})
	qs.Leave(c, false, func(bool) {})
	if qs.Keys() != 1 {
		t.Fatal("a key that is held has no queue")
	}
	q.Ended()
	c = qs.Contend("a")
	q, _ = enter(t, qs, "a", Want{})
	q.Refused()
	if qs.Keys() != 1 {
		t.Fatal("a key that a goroutine contends for has no queue")
	}
	qs.Leave(c, false, func(bool) {})
	if n := qs.Keys(); n != 0 {
		t.Errorf("%d queues are left", n)
	}
	qs.NoteRemoteWait("a", now)
	qs.Retry("a")
	qs.Gap(0, now)
	if qs.Turn(0, "a") || qs.LastRefusal("a") != nil || qs.Keys() != 0 {
		t.Error("news makes a queue")
	}
}

func TestQueues_Leave_ReportsTheLastContenderOfAProcessThatMayBeQueued(t *testing.T) {
	for name, test := range map[string]struct {
		first, second bool
		calls         []bool
	}{
		"none was queued":       {false, false, []bool{true}},
		"the first was queued":  {true, false, []bool{true, false}},
		"the second was queued": {false, true, []bool{true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			qs := New(3, 2)
			one, two := qs.Contend("a"), qs.Contend("a")
			var calls []bool
			leave := func(others bool) { calls = append(calls, others) }
			qs.Leave(one, test.first, leave)
			for shared, want := range map[bool]bool{false: true, true: false} {
				qs.LeaveUnqueued("a", shared, func(others bool) {
					if others != want {
						t.Errorf("to one that reads (%t), others contend: %t", shared, others)
					}
				})
			}
			qs.Leave(two, test.second, leave)
			if !slices.Equal(calls, test.calls) {
				t.Errorf("leave was called with %v, want %v", calls, test.calls)
			}
			if !qs.UnlessContended("a", func() {}) {
				t.Error("it is contended for")
			}
			calls = nil
			qs.Leave(qs.Contend("a"), false, leave)
			if len(calls) > 0 {
				t.Error("a later contender inherits the place of those before")
			}
		})
	}
}

func TestContender_NewsOfAnAttemptBeforeIsDropped(t *testing.T) {
	qs := New(3, 2)
	c := qs.Contend("a")
	qs.Turn(0, "a")
	qs.Turn(0, "a") // twice from one node
	if missing, _, retry := qs.Missing(c); missing != 1 || retry {
		t.Errorf("%d nodes are missing; at once: %t", missing, retry)
	}
	qs.Turn(2, "a")
	if missing, _, _ := qs.Missing(c); missing != 0 {
		t.Errorf("%d nodes are missing after a quorum", missing)
	}
	qs.Gap(1, now)
	if _, _, retry := qs.Missing(c); !retry {
		t.Error("a gap causes no attempt")
	}
	qs.DropNews(c, now, time.Millisecond)
	if missing, doubted, retry := qs.Missing(c); missing != 2 || retry || !doubted.IsZero() || len(c.Notified) > 0 {
		t.Errorf("after an attempt %d nodes are missing; at once: %t; doubted until %v", missing, retry, doubted)
	}
}

// The turn may have been lost with the messages, so it is looked for when the node is
// doubted no more.
func TestContender_AGapOfADoubtedNodeCausesAnAttemptLater(t *testing.T) {
	qs := New(3, 2)
	c := qs.Contend("a")
	qs.Turn(1, "a")
	qs.DropNews(c, now, 20*time.Millisecond)
	qs.Gap(1, now)
	missing, doubted, retry := qs.Missing(c)
	if missing != 2 || retry || doubted.Sub(now) < 20*time.Millisecond || len(c.Notified) == 0 {
		t.Errorf("%d nodes are missing; at once: %t; doubted for %v; %d notices", missing, retry, doubted.Sub(now), len(c.Notified))
	}
}

func TestContender_ANodeThatWasWrongAloneIsDoubtedTwiceAsLong(t *testing.T) {
	qs := New(3, 2)
	c := qs.Contend("a")
	for i := range 20 {
		qs.Turn(1, "a")
		qs.DropNews(c, now, 20*time.Millisecond)
		qs.Turn(1, "a")
		_, doubted, _ := qs.Missing(c)
		want := min(20*time.Millisecond<<i, MaxDoubt)
		if got := doubted.Sub(now); got < want || got > want+time.Millisecond {
			t.Errorf("after %d attempts it is doubted for %v, want %v", i+1, got, want)
		}
		qs.Gap(1, now) // which it is not asked for either
		if _, _, retry := qs.Missing(c); retry {
			t.Fatal("a node that is doubted causes an attempt by a gap")
		}
	}
	qs.Turn(0, "a")
	qs.DropNews(c, now, 20*time.Millisecond) // a quorum agreed with it
	qs.Turn(1, "a")
	qs.DropNews(c, now, 20*time.Millisecond)
	qs.Turn(1, "a")
	if _, doubted, _ := qs.Missing(c); doubted.Sub(now) > 21*time.Millisecond {
		t.Errorf("after a quorum agreed with it, it is doubted for %v", doubted.Sub(now))
	}
}

func TestQueues_LastRefusal(t *testing.T) {
	qs := New(3, 2)
	c, why := qs.Contend("a"), errors.New("held by another")
	if err := qs.LastRefusal("a"); err != nil {
		t.Errorf("before an attempt: %v", err)
	}
	qs.Refused(c, why)
	if err := qs.LastRefusal("a"); err != why {
		t.Errorf("it is %v", err)
	}
}

// Whatever callers, leases and other processes do: one caller asks or one lease is
// held, everybody is served in order, and nothing is left.
func TestQueue_AnyOrderOfEventsServesEveryCaller(t *testing.T) {
	for seed := range int64(2000) {
		random := rand.New(rand.NewSource(seed))
		qs := New(3, 2)
		var waiting []*Caller
		var q *Queue
		asking, held := false, false // by the caller that was served last
		var kept, taken any          // for the next caller, and by it
		take := func(c *Caller, lease any) {
			qs.Free(c)
			asking, held = lease == nil, lease != nil
		}
		served := func() {
			for i, c := range waiting {
				if len(c.Turn) > 0 {
					if i != 0 || asking || held {
						t.Fatalf("seed %d: caller %d was served out of turn", seed, i)
					}
					take(c, <-c.Turn)
					waiting = waiting[1:]
					return
				}
			}
		}
		for step := 0; step < 60 || asking || held || kept != nil || len(waiting) > 0; step++ {
			switch event := random.Intn(9); {
			case event < 2 && step < 60:
				var c *Caller
				var got any
				if q, c, got, _ = qs.Enter("a", Request{Parent: context.Background()}, true); c == nil {
					if asking || held || len(waiting) > 0 || got != kept {
						t.Fatalf("seed %d: two callers ask, or the first got %v of %v", seed, got, kept)
					}
					asking, taken, kept = true, got, nil
				} else {
					waiting = append(waiting, c)
				}
			case event == 2 && asking:
				asking, held = false, true
				if taken != nil && random.Intn(2) == 0 {
					q.Retaken()
				} else {
					q.Acquired(Want{})
				}
				taken = nil
			case event == 3 && asking:
				asking, taken = false, nil
				q.Refused()
			case event == 4 && held:
				held = false
				if !q.HandOver(now, time.Second, give("lease")) {
					q.Ended()
				}
			case event == 6 && held:
				if q.Keep(step, func() bool { return true }) {
					held, kept = false, step
				}
			case event == 7 && kept != nil:
				got := kept
				switch random.Intn(4) {
				case 0:
					got = qs.NoteRemoteWait("a", now)
				case 1:
					got = qs.Gap(1, now)[0]
				case 2:
					got = qs.TakeKept("a")
				case 3:
					q.KeptEnded(-1)
					q.KeptEnded(kept)
				}
				if got != kept {
					t.Fatalf("seed %d: %v is to be released instead of %v", seed, got, kept)
				}
				kept = nil
			case event == 8 && q != nil && (taken != nil || kept == nil):
				q.KeptEnded(taken) // a timer that comes late
			case event == 5 && len(waiting) > 0:
				i := random.Intn(len(waiting))
				if lease := q.GiveUp(waiting[i]); lease != nil {
					t.Fatalf("seed %d: a caller that was not served had %v", seed, lease)
				}
				waiting = slices.Delete(waiting, i, i+1)
			}
			served()
		}
		if n := qs.Keys(); n != 0 {
			t.Fatalf("seed %d: %d queues are left", seed, n)
		}
	}
}
