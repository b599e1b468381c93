package quorumlock

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// The scripts of a key with a limit, on one node.

// The scripts as they are sent.
var (
	slotAcquireSource = drawSource + limitSource + limitQueueSource + limitAcquireSource
	slotReleaseSource = wakeSource + limitSource + limitWakeSource + limitQueueSource + limitReleaseSource
	slotLeaveSource   = wakeSource + limitSource + limitWakeSource + limitLeaveSource
)

// slotAsk is one request for a slot.
type slotAsk struct {
	value   string
	process string
	limit   int
	start   int
	ttl     int // ms
	block   int64
	queue   bool
	prelude string // of the script
}

// slots runs a script of a key with a limit.
func (b *bench) slots(src string, args ...any) any {
	b.t.Helper()
	reply, err := b.Clients[0].Eval(context.Background(), src, limitNames("lock:k"), args...).Result()
	return b.must(reply, err)
}

func (b *bench) askSlot(a slotAsk) []any {
	b.t.Helper()
	words, err := b.slotReply(a)
	b.must(words, err)
	return words
}

// slotReply is what the acquire script answers.
func (b *bench) slotReply(a slotAsk) ([]any, error) {
	if a.ttl == 0 {
		a.ttl = scriptTTL
	}
	l := &limited{n: a.limit}
	reply, err := b.Clients[0].Eval(context.Background(), a.prelude+slotAcquireSource, limitNames("lock:k"),
		a.value, a.ttl, max(a.block, 1)*l.step(), time.Now().UnixMicro(), a.process+limitWaiter, scriptRetention, scriptMaxTTL,
		l.marker(), a.limit, a.start, "aa", l.step(), 0, oneIf(a.queue)).Result()
	words, _ := reply.([]any)
	return words, err
}

// grantSlot acquires a slot, and gives out its number and what was told.
func (b *bench) grantSlot(a slotAsk) (slot, told int64) {
	b.t.Helper()
	words := b.askSlot(a)
	if len(words) != 6 || words[0] != int64(1) {
		b.t.Fatalf("%+v: %v", a, words)
	}
	return words[3].(int64), words[1].(int64)
}

func (b *bench) refuseSlot(a slotAsk) (holder, slots string) {
	b.t.Helper()
	words := b.askSlot(a)
	if len(words) != 4 || words[0] != int64(0) {
		b.t.Fatalf("%+v: %v", a, words)
	}
	return words[2].(string), words[3].(string)
}

func (b *bench) releaseSlot(value string, limit int, slot string) any {
	b.t.Helper()
	return b.slots(slotReleaseSource, value, (&limited{n: limit}).marker(), slot, scriptReserve, scriptMaxTTL, "", "")
}

func (b *bench) raiseSlot(value string, limit int, slot, told, to, drawn int64) any {
	b.t.Helper()
	return b.slots(limitRaiseSource, value, slot, told, to, scriptRetention, slot%int64(Classes(limit)), drawn, (&limited{n: limit}).marker())
}

func (b *bench) leaveSlots(process string, toEnd bool) {
	b.t.Helper()
	b.slots(slotLeaveSource, process+limitWaiter, scriptReserve, oneIf(toEnd), "")
}

// taken is which slots are taken.
func (b *bench) taken() (all []string) {
	b.t.Helper()
	for _, one := range b.Clients[0].ZRange(context.Background(), Companion("lock:k", "until"), 0, -1).Val() {
		if _, err := strconv.Atoi(one); err == nil {
			all = append(all, one)
		}
	}
	slices.Sort(all)
	return all
}

func TestScripts_Slot_GrantsTheFirstFreeFromTheStart(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		for i, want := range []int64{2, 0, 1} {
			if slot, _ := b.grantSlot(slotAsk{value: "P/" + strconv.Itoa(i) + "/", process: "P", limit: 3, start: 2}); slot != want {
				t.Errorf("slot %d is granted, want %d", slot, want)
			}
		}
		again, told := b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 3, start: 1})
		if twice, same := b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 3, start: 2}); again != 0 || twice != 0 || told != same {
			t.Errorf("delivered again: slots %d and %d, told %d and %d", again, twice, told, same)
		}
		holder, slots := b.refuseSlot(slotAsk{value: "Q/1/", process: "Q", limit: 3, start: 1})
		if holder != "P/2/" || slots != "aaaaaa" {
			t.Errorf("refused with the holder %q, %q", holder, slots)
		}
		if got := b.taken(); len(got) != 3 {
			t.Errorf("%v are taken", got)
		}
		b.releaseSlot("P/0/", 3, "")
		b.releaseSlot("P/1/", 3, "")
		if got := b.Get(0, b.keys[0]); got != "limit:3" {
			t.Errorf("with a slot taken the key holds %q", got)
		}
		b.releaseSlot("P/2/", 3, "")
		if keys := b.Keys(0, "*lock:k*"); len(keys) != 1 {
			t.Errorf("left: %v", keys)
		}
	})
}

func TestScripts_RaiseSlot_NeedsTheGrantAndUnusedNumbers(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		ask := func(value string, start int) slotAsk {
			return slotAsk{value: value, process: "P", limit: 32, start: start}
		}
		slot, told := b.grantSlot(ask("P/1/", 3))
		if b.raiseSlot("P/2/", 32, slot, told, told+16, 16) != int64(0) {
			t.Error("raised for another value")
		}
		if b.raiseSlot("P/1/", 32, slot, told-1, told+16, 16) != int64(0) {
			t.Error("raised for a number that was not told")
		}
		if b.raiseSlot("P/1/", 32, slot, told, told+5, 16) != int64(1) || b.fence() != told+5 {
			t.Errorf("not raised to %d: %d", told+5, b.fence())
		}
		if b.raiseSlot("P/1/", 32, slot, told, told+5, 16) != int64(0) {
			t.Error("a second copy is accepted")
		}
		// Another class draws in between, which does no harm; the counter does not fall.
		slot, told = b.grantSlot(ask("P/3/", 4))
		_, later := b.grantSlot(ask("P/4/", 5))
		if b.raiseSlot("P/3/", 32, slot, told, told+2, 16) != int64(1) || b.fence() != later {
			t.Errorf("beside another class: the counter is %d, want %d", b.fence(), later)
		}
		// The same class does.
		slot, told = b.grantSlot(ask("P/5/", 7))
		_, later = b.grantSlot(ask("P/6/", 23))
		if b.raiseSlot("P/5/", 32, slot, told, later, 16) != int64(0) {
			t.Error("raised to a number that another of the class was told")
		}
		if b.raiseSlot("P/5/", 32, slot, told, later+16, 16) != int64(1) {
			t.Error("not raised above what another of the class was told")
		}
		// A counter that was lost may have granted anything.
		slot, told = b.grantSlot(ask("P/7/", 8))
		b.must(b.Clients[0].Set(t.Context(), b.keys[1], told-1, time.Hour).Result())
		if b.raiseSlot("P/7/", 32, slot, told, told+16, 16) != int64(0) {
			t.Error("a counter that was lost is raised")
		}
		// A slot that was given to another, and came again.
		slot, told = b.grantSlot(ask("P/8/", 9))
		b.releaseSlot("P/8/", 32, "")
		b.grantSlot(ask("P/8/", 9))
		if b.raiseSlot("P/8/", 32, slot, told, told+160, 16) != int64(0) {
			t.Error("raised for a grant that is over")
		}
	})
}

func TestScripts_Slot_TheSlotsOfAMarkerThatWasDeletedAreForgotten(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 2})
		b.must(b.Clients[0].Del(t.Context(), b.keys[0]).Result())
		b.grantSlot(slotAsk{value: "Q/1/", process: "Q", limit: 3, start: 1})
		if got := b.taken(); !slices.Equal(got, []string{"1"}) {
			t.Errorf("%v are taken", got)
		}
		b.must(b.Clients[0].Del(t.Context(), Companion("lock:k", "slots")).Result())
		if holder, _ := b.refuseSlot(slotAsk{value: "R/1/", process: "R", limit: 3}); holder != "limit:3" {
			t.Errorf("where the slots were lost %q has them", holder)
		}
	})
}

func TestScripts_ReleaseSlot_NamesTheSlotAndWakesWaitersOneAfterTheOther(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("P", "Q", "R")
		next := func(want string) {
			t.Helper()
			select {
			case got := <-heard:
				if got != want {
					t.Errorf("heard %q, want %q", got, want)
				}
			case <-time.After(harness.Patience):
				t.Fatalf("nobody heard %q", want)
			}
		}
		for i := range 4 {
			b.grantSlot(slotAsk{value: "P/" + strconv.Itoa(i) + "/", process: "P", limit: 4, start: i})
		}
		b.refuseSlot(slotAsk{value: "Q/1/", process: "Q", limit: 4, queue: true})
		next("P qlock:k")
		b.refuseSlot(slotAsk{value: "R/1/", process: "R", limit: 4, queue: true})
		next("P qlock:k")
		if got := b.queue(); !slices.Equal(got, []string{"Q/s", "R/s"}) {
			t.Fatalf("queued: %q", got)
		}
		if got := b.releaseSlot("P/2/", 4, "3"); got != int64(0) || len(b.taken()) != 4 {
			t.Errorf("released from a slot that it does not have: %v", got)
		}
		b.releaseSlot("P/2/", 4, "2")
		next("Q s2:lock:k")
		b.releaseSlot("P/0/", 4, "")
		next("R s0:lock:k")
		b.refuseSlot(slotAsk{value: "X/1/", process: "X", limit: 4}) // both are reserved
		b.releaseSlot("P/1/", 4, "")
		b.grantSlot(slotAsk{value: "X/1/", process: "X", limit: 4}) // the third is not
		if slot, _ := b.grantSlot(slotAsk{value: "Q/2/", process: "Q", limit: 4, start: 2}); slot != 2 {
			t.Errorf("the first that was woken gets slot %d", slot)
		}
		b.refuseSlot(slotAsk{value: "X/2/", process: "X", limit: 4})
		b.leaveSlots("Q", false)
		b.leaveSlots("R", false) // and gives back what was reserved for it
		b.grantSlot(slotAsk{value: "X/2/", process: "X", limit: 4})
		if got := b.queue(); len(got) != 0 {
			t.Errorf("queued: %q", got)
		}
	})
}

func TestScripts_LeaveSlots_PassesTheTurnOn(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("P", "Q", "R")
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 2})
		b.grantSlot(slotAsk{value: "P/2/", process: "P", limit: 2})
		for _, process := range []string{"Q", "R"} {
			b.refuseSlot(slotAsk{value: process + "/1/", process: process, limit: 2, queue: true})
			<-heard
		}
		b.releaseSlot("P/1/", 2, "")
		if got := <-heard; got != "Q s0:lock:k" {
			t.Errorf("heard %q", got)
		}
		b.leaveSlots("Q", false)
		select {
		case got := <-heard:
			if got != "R s0:lock:k" {
				t.Errorf("heard %q", got)
			}
		case <-time.After(harness.Patience):
			t.Error("the turn of a waiter that left is passed on to nobody")
		}
		b.releaseSlot("P/2/", 2, "") // the last: the key is free
		if got := <-heard; got != "R wlock:k" {
			t.Errorf("heard %q", got)
		}
		if got := b.Get(0, b.keys[3]); got != "R/s" {
			t.Errorf("the key is reserved for %q", got)
		}
		b.refuse(ask{value: "R/9/", process: "R"})
		b.grantSlot(slotAsk{value: "R/2/", process: "R", limit: 2})
	})
}

func TestScripts_Slot_ExpiredSlotsAreFreedManyAtATime(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		const limit = 80
		b.grantSlot(slotAsk{value: "P/long/", process: "P", limit: limit})
		for i := range limit - 1 {
			b.grantSlot(slotAsk{value: "P/" + strconv.Itoa(i) + "/", process: "P", limit: limit, ttl: 20})
		}
		harness.Eventually(t, "the slots are given to others", func() bool {
			return b.askSlot(slotAsk{value: "Q/1/", process: "Q", limit: limit})[0] == int64(1)
		})
		for i := range limit - 2 {
			harness.Eventually(t, "the next is given", func() bool {
				return b.askSlot(slotAsk{value: "Q/" + strconv.Itoa(i+2) + "/", process: "Q", limit: limit})[0] == int64(1)
			})
		}
		if holder, _ := b.refuseSlot(slotAsk{value: "R/1/", process: "R", limit: limit}); holder != "P/long/" {
			t.Errorf("%q has slot 0", holder)
		}
		fields := b.Clients[0].HLen(t.Context(), Companion("lock:k", "slots")).Val()
		if want := int64(2*limit + 1 + maxClasses); fields != want {
			t.Errorf("the hash has %d fields, want %d", fields, want)
		}
	})
}

func TestScripts_Slot_EveryProcessThatHoldsOneIsToldOfAWaiter(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		const limit = 64
		heard := b.hear("P", "Q", "W")
		for i := range limit {
			process := "W"
			switch i {
			case 0:
				process = "P"
			case limit / 2:
				process = "Q"
			}
			b.grantSlot(slotAsk{value: process + "/" + strconv.Itoa(i) + "/", process: process, limit: limit, start: i})
		}
		b.refuseSlot(slotAsk{value: "W/0/", process: "W", limit: limit, start: 1, queue: true})
		for _, want := range []string{"Q qlock:k", "P qlock:k"} {
			if got := harness.Receive(t, "an announcement", heard); got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		}
		if len(heard) > 0 {
			t.Errorf("the waiter is told of itself: %q", <-heard)
		}
		b.must(b.Clients[0].Del(t.Context(), limitNames("lock:k")...).Result())
		b.grant(ask{value: "W/1/", process: "W"})
		b.refuseSlot(slotAsk{value: "W/2/", process: "W", limit: limit, queue: true})
		if got := harness.Receive(t, "an announcement", heard); got != "W qlock:k" {
			t.Errorf("the exclusive holder, which may retain it, heard %q", got)
		}
	})
}

func TestScripts_Slot_ARefusalForgetsWhatIsOver(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 1})
		until := Companion("lock:k", "until")
		for i := range 40 {
			over := redis.Z{Score: 1, Member: "@p" + strconv.Itoa(i) + limitWaiter}
			must(t, b.Clients[0].ZAdd(t.Context(), until, over).Err())
		}
		for range 2 {
			if _, slots := b.refuseSlot(slotAsk{value: "Q/1/", process: "Q", limit: 1}); slots != "aa" {
				t.Errorf("slots %q", slots)
			}
		}
		if got := b.Clients[0].ZCard(t.Context(), until).Val(); got != 1 {
			t.Errorf("%d are kept that are over", got-1)
		}
	})
}

// A reservation that is over does not keep its waiter from being woken when
// another leaves.
func TestScripts_LeaveSlots_WakesAWaiterWhoseReservationIsOver(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("P", "Q", "R")
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 2})
		b.grantSlot(slotAsk{value: "P/2/", process: "P", limit: 2})
		b.refuseSlot(slotAsk{value: "Q/1/", process: "Q", limit: 2, queue: true})
		<-heard
		b.releaseSlot("P/1/", 2, "")
		if got := <-heard; got != "Q s0:lock:k" {
			t.Fatalf("heard %q", got)
		}
		now := b.Clients[0].Time(t.Context()).Val().UnixMilli()
		b.Clients[0].ZAdd(t.Context(), Companion("lock:k", "until"), redis.Z{Score: float64(now - 1), Member: "@Q/s"})
		b.leaveSlots("R", false)
		select {
		case got := <-heard:
			if got != "Q s0:lock:k" {
				t.Errorf("heard %q", got)
			}
		case <-time.After(3 * time.Second):
			t.Error("a slot is free, nothing is reserved any more, and nobody is woken")
		}
	})
}

// What stands in the place of a slot that was seized has no field of its own, as
// several slots have the same.
func TestScripts_ReleaseSlot_OfWhatWasSeized(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		for i, value := range []string{"P/1/", "P/2/", "P/3/"} {
			b.grantSlot(slotAsk{value: value, process: "P", limit: 3, start: i})
		}
		for i, value := range []string{"P/1/", "P/2/"} {
			if got := b.slots(limitSource+limitSeizeSource, value, "limit:3", i, "forced", 0, forcedTag, 3).([]any); got[0] != int64(1) {
				t.Fatalf("seized: %v", got)
			}
		}
		if got := b.releaseSlot("forced", 3, "2"); got != int64(0) {
			t.Errorf("the slot of another is released: %v", got)
		}
		if got := b.releaseSlot("P/1/", 3, "0"); got != int64(0) {
			t.Errorf("released for the value from which it was seized: %v", got)
		}
		if got := b.releaseSlot("forced", 3, "1"); got != int64(1) || !slices.Equal(b.taken(), []string{"0", "2"}) {
			t.Errorf("released: %v, and %v are taken", got, b.taken())
		}
		if got := b.releaseSlot("P/3/", 3, "2"); got != int64(1) || !slices.Equal(b.taken(), []string{"0"}) {
			t.Errorf("released: %v, and %v are taken", got, b.taken())
		}
		if again, _ := b.grantSlot(slotAsk{value: "P/3/", process: "P", limit: 3, start: 1}); again != 1 {
			t.Errorf("the value that was released has slot %d", again)
		}
	})
}

// An attempt that gives back a slot beside others waits for these.
func TestScripts_ReleaseSlot_QueuesTheWaiterForTheSlotsOfOthers(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("P", "Q", "R")
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 3})
		b.grantSlot(slotAsk{value: "R/1/", process: "R", limit: 3, start: 1})
		b.grantSlot(slotAsk{value: "R/2/", process: "R", limit: 3, start: 2})
		release := func(value, waiter string) {
			t.Helper()
			if got := b.slots(slotReleaseSource, value, "limit:3", "", 0, scriptMaxTTL, waiter, ""); got != int64(1) {
				t.Errorf("released: %v", got)
			}
		}
		release("R/2/", "R/s")
		if got := harness.Receive(t, "the announcement", heard); got != "P qlock:k" {
			t.Errorf("heard %q", got)
		}
		if ttl := b.pttl(b.keys[2]); !slices.Equal(b.queue(), []string{"R/s"}) || ttl <= 0 || ttl > scriptMaxTTL*time.Millisecond {
			t.Errorf("queued: %v, for %v", b.queue(), ttl)
		}
		b.grantSlot(slotAsk{value: "Q/1/", process: "Q", limit: 3, start: 2})
		release("Q/1/", "Q/s")
		harness.Receive(t, "the announcement", heard)
		harness.Receive(t, "the announcement", heard)
		b.releaseSlot("P/1/", 3, "")
		if got := harness.Receive(t, "the wake", heard); got != "R s0:lock:k" {
			t.Errorf("heard %q", got)
		}
		release("R/1/", "X/s")
		if got := b.queue(); len(got) != 2 {
			t.Errorf("where no slot is left: queued %v", got)
		}
	})
}

// A grant says when one more slot may be free, as a refusal says when one may.
func TestScripts_Slot_SaysWhenTheNextIsOver(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		ask := func(value string, ttl int) time.Duration {
			words := b.askSlot(slotAsk{value: value, process: "P", limit: 3, ttl: ttl})
			if words[0] == int64(1) {
				return time.Duration(words[5].(int64)) * time.Millisecond
			}
			return time.Duration(words[1].(int64)) * time.Millisecond
		}
		if left := ask("P/1/", scriptTTL); left != -time.Millisecond {
			t.Errorf("the first is told %v", left)
		}
		if left := ask("P/2/", scriptTTL/2); left <= scriptTTL/2*time.Millisecond || left > scriptTTL*time.Millisecond {
			t.Errorf("the second is told %v", left)
		}
		for _, value := range []string{"P/3/", "P/3/", "P/4/"} { // once more, and refused
			if left := ask(value, scriptTTL); left <= 0 || left > scriptTTL/2*time.Millisecond {
				t.Errorf("%s is told %v", value, left)
			}
		}
		until := Companion("lock:k", "until")
		b.must(b.Clients[0].ZAdd(t.Context(), until, redis.Z{Score: 1, Member: "1"}).Result())
		if left := ask("P/5/", scriptTTL); left <= scriptTTL/2*time.Millisecond {
			t.Errorf("with a slot that is over: %v", left)
		}
	})
}

// Many waiters for the whole key may stand before the first that waits for a slot,
// and as many whose slot is reserved as there are slots.
func TestScripts_ReleaseSlot_PassesOverManyPlaces(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("Q")
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 2})
		for _, n := range []int{3, 4, 5, 20, 84, 340, 1300} {
			b.must(b.Clients[0].Del(t.Context(), b.keys[2]).Result())
			var ahead []redis.Z
			for i := range n {
				place := "W" + strconv.Itoa(i)
				if i%3 == 0 {
					place += limitWaiter // that no longer listens
				}
				ahead = append(ahead, redis.Z{Score: float64(i + 1), Member: place})
			}
			b.must(b.Clients[0].ZAdd(t.Context(), b.keys[2], ahead...).Result())
			b.must(b.Clients[0].HDel(t.Context(), Companion("lock:k", "slots"), "@Q"+limitWaiter).Result())
			b.must(b.Clients[0].ZRem(t.Context(), Companion("lock:k", "until"), "@Q"+limitWaiter).Result())
			b.grantSlot(slotAsk{value: "P/2/", process: "P", limit: 2})
			b.refuseSlot(slotAsk{value: "Q/1/", process: "Q", limit: 2, queue: true})
			b.releaseSlot("P/2/", 2, "")
			if got := harness.Receive(t, "the wake", heard); got != "Q s1:lock:k" {
				t.Errorf("behind %d: heard %q", n, got)
			}
			if got, want := len(b.queue()), n-(n+2)/3+1; got != want {
				t.Errorf("%d of %d places are left, want %d", got, n, want)
			}
		}
	})
}

// A waiter that was woken finds its slot set by a renewal. It is woken for the next.
func TestScripts_Slot_ALookUsesUpAReservation(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("Q")
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 2})
		b.grantSlot(slotAsk{value: "P/2/", process: "P", limit: 2})
		b.refuseSlot(slotAsk{value: "Q/1/", process: "Q", limit: 2, queue: true})
		b.releaseSlot("P/1/", 2, "")
		if got := harness.Receive(t, "the wake", heard); got != "Q s0:lock:k" {
			t.Errorf("heard %q", got)
		}
		if got := b.slots(limitSource+limitExtendSource, "H/1/", scriptTTL, 0, "limit:2", 2, "aa").([]any); got[0] != int64(2) {
			t.Fatalf("healed: %v", got)
		}
		b.refuseSlot(slotAsk{value: "Q/2/", process: "Q", limit: 2, queue: true})
		b.releaseSlot("P/2/", 2, "")
		if got := harness.Receive(t, "the wake", heard); got != "Q s1:lock:k" {
			t.Errorf("heard %q", got)
		}
	})
}
