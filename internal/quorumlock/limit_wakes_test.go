package quorumlock

import (
	"context"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
)

// wakeWorld is what may happen to the waiters of one node. No TTL is over while it
// lasts; what is reserved for a waiter may be over at any moment.
type wakeWorld struct {
	*bench
	limit   int
	next    int
	held    []string        // values of slots
	whole   string          // the value of an exclusive lock
	awake   map[string]bool // waiters that were woken, and are to look again
	winners map[string]bool // that were queued and have won, and are to leave the queue
	asleep  map[string]bool // waiters that look again when they are woken
	passing bool            // a winner that leaves wakes the next
	missed  bool            // a waiter has made nothing of a wake: other nodes did not wake it
}

// place is that of a process in the queue. Processes whose names begin with W wait
// for the whole key.
func place(process string) string {
	if process[0] == 'W' {
		return process
	}
	return process + limitWaiter
}

// places is the node's queue.
func (w *wakeWorld) places() map[string]float64 {
	all := map[string]float64{}
	for _, z := range w.Clients[0].ZRangeWithScores(context.Background(), w.keys[2], 0, -1).Val() {
		all[z.Member.(string)] = z.Score
	}
	return all
}

// wakes notes who is woken by event, of which the place has a new mark or is gone.
func (w *wakeWorld) wakes(event func()) {
	before := w.places()
	event()
	after := w.places()
	for p := range w.asleep {
		if score, there := after[place(p)]; !there || score > before[place(p)] {
			delete(w.asleep, p)
			w.awake[p] = true
		}
	}
}

func (w *wakeWorld) value(process string) string {
	w.next++
	return fmt.Sprintf("%s/%d/", process, w.next)
}

// looks has a process ask for a slot. waits says that it is queued if it is refused.
func (w *wakeWorld) looks(process string, waits bool) {
	value, was := w.value(process), w.awake[process]
	delete(w.awake, process)
	if process[0] == 'W' {
		words, err := w.acquire(ask{value: value, process: process, queue: waits})
		if w.must(words, err); words[0] == int64(1) {
			w.whole, w.winners[process] = value, was
		} else {
			w.asleep[process] = true
		}
		return
	}
	words := w.askSlot(slotAsk{value: value, process: process, limit: w.limit, start: w.next % w.limit, queue: waits})
	switch {
	case words[0] == int64(1):
		w.held = append(w.held, value)
		w.winners[process] = w.winners[process] || was
	case waits:
		w.asleep[process] = true
	}
}

// leaves has a process leave the queue, because it has won or gave up.
func (w *wakeWorld) leaves(process string) {
	reserve := scriptReserve
	if w.winners[process] && !w.passing {
		reserve = 0
	}
	for _, one := range []map[string]bool{w.awake, w.asleep, w.winners} {
		delete(one, process)
	}
	w.wakes(func() {
		switch {
		case process[0] != 'W':
			w.slots(slotLeaveSource, place(process), reserve, "", "")
		case reserve == 0:
			w.stepOut(process)
		default:
			w.leave(process)
		}
	})
}

// expires has what is reserved for a waiter be over.
func (w *wakeWorld) expires(process string) {
	ctx, reservation := context.Background(), redis.Z{Score: 1, Member: "@" + place(process)}
	w.must(w.Clients[0].ZAddXX(ctx, Companion("lock:k", "until"), reservation).Result())
	if w.Clients[0].Get(ctx, w.keys[3]).Val() == place(process) {
		w.must(w.Clients[0].Del(ctx, w.keys[3]).Result())
	}
}

// misses has a waiter that was woken sleep on, until what was reserved for it is
// over.
func (w *wakeWorld) misses(process string) {
	w.expires(process)
	delete(w.awake, process)
	if _, there := w.places()[place(process)]; there {
		w.asleep[process], w.missed = true, true
	}
}

// frees ends an exclusive lock.
func (w *wakeWorld) frees() {
	w.wakes(func() { w.release(w.whole) })
	w.whole = ""
}

// stuck says which waiter nobody will wake beside a free slot, once nothing is
// under way.
func (w *wakeWorld) stuck() string {
	if len(w.awake)+len(w.winners) > 0 || w.whole != "" || len(w.held) == w.limit {
		return ""
	}
	for p := range w.asleep {
		if p[0] != 'W' || len(w.held) == 0 {
			return fmt.Sprintf("%s sleeps while %d of %d slots are taken", p, len(w.held), w.limit)
		}
	}
	return ""
}

func oneOf(random *rand.Rand, set map[string]bool) string {
	var all []string
	for p := range set {
		all = append(all, p)
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return all[random.Intn(len(all))]
}

// step has one thing happen.
func (w *wakeWorld) step(random *rand.Rand, waiters []string) {
	switch event := random.Intn(10); {
	case event == 0 && w.whole == "":
		w.looks("X", false)
	case event == 1 && w.whole == "":
		value := w.value("E")
		if words, err := w.acquire(ask{value: value, process: "E"}); err == nil && words[0] == int64(1) {
			w.whole = value
		}
	case event == 2 && w.whole != "":
		w.frees()
	case event <= 3 && len(w.held) > 0:
		i := random.Intn(len(w.held))
		value := w.held[i]
		w.held = slices.Delete(w.held, i, i+1)
		w.wakes(func() { w.releaseSlot(value, w.limit, "") })
	case event == 4 && len(w.winners) > 0:
		w.leaves(oneOf(random, w.winners))
	case event == 5 && len(w.awake) > 0:
		w.looks(oneOf(random, w.awake), true)
	case event == 6 && random.Intn(3) == 0 && len(w.awake)+len(w.asleep) > 0:
		if p := oneOf(random, w.awake); p != "" {
			w.leaves(p)
		} else {
			w.leaves(oneOf(random, w.asleep))
		}
	case event == 8 && len(w.awake) > 0:
		w.expires(oneOf(random, w.awake))
	case event == 9 && len(w.awake) > 0:
		w.misses(oneOf(random, w.awake))
	case event == 7:
		if p := waiters[random.Intn(len(waiters))]; !w.awake[p] && !w.asleep[p] && !w.winners[p] {
			w.looks(p, true)
		}
	}
}

// settle has what is under way end, in any order. If a wake was missed, others come
// by and leave until none of those wakes anybody.
func (w *wakeWorld) settle(random *rand.Rand) {
	w.end(random)
	for w.missed {
		before := maps.Clone(w.asleep)
		w.leaves("Z")
		w.missed = !maps.Equal(before, w.asleep)
		w.end(random)
	}
}

func (w *wakeWorld) end(random *rand.Rand) {
	for len(w.awake)+len(w.winners) > 0 {
		if p := oneOf(random, w.winners); p != "" && (len(w.awake) == 0 || random.Intn(2) == 0) {
			w.leaves(p)
		} else if p := oneOf(random, w.awake); random.Intn(4) == 0 {
			w.misses(p)
		} else {
			w.looks(p, true)
		}
	}
}

// Whatever happens on a node, and in whichever order what was sent arrives there:
// no waiter is left asleep beside a free slot.
func TestScripts_Slots_NoWaiterSleepsBesideAFreeSlot(t *testing.T) {
	waiters := []string{"Q", "R", "S", "W1", "W2"}
	// run returns in how many of the worlds a waiter is left asleep.
	run := func(t *testing.T, b *bench, passing bool, worlds int64) (stuck int, what string) {
		for seed := range worlds {
			b.must(b.Clients[0].Del(t.Context(), limitNames("lock:k")...).Result())
			random := rand.New(rand.NewSource(seed))
			w := &wakeWorld{bench: b, limit: 1 + int(seed%3), awake: map[string]bool{}, winners: map[string]bool{}, asleep: map[string]bool{}, passing: passing}
			for range 25 {
				w.step(random, waiters)
			}
			if random.Intn(2) == 0 && w.whole != "" {
				w.frees()
			}
			w.settle(random)
			if random.Intn(2) == 0 && w.whole != "" {
				w.frees()
				w.settle(random)
			}
			if wrong := w.stuck(); wrong != "" {
				stuck, what = stuck+1, fmt.Sprintf("seed %d, Limit(%d): %s", seed, w.limit, wrong)
			}
		}
		return stuck, what
	}
	onOneNode(t, func(t *testing.T, b *bench) {
		heard, done := b.hear(waiters...), make(chan struct{})
		defer close(done)
		go func() { // what they hear shows in their places
			for {
				select {
				case <-heard:
				case <-done:
					return
				}
			}
		}()
		if stuck, what := run(t, b, true, 500); stuck > 0 {
			t.Errorf("in %d worlds, the last: %s", stuck, what)
		}
		if stuck, _ := run(t, b, false, 100); stuck == 0 {
			t.Error("too little happens: nobody sleeps although winners pass nothing on")
		}
	})
}
