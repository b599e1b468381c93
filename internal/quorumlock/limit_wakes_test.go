package quorumlock

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"testing"
)

// wakeWorld is what may happen to the waiters of one node: nobody's moment or TTL
// is over while it lasts.
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
		if score, there := after[p+limitWaiter]; !there || score > before[p+limitWaiter] {
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
		w.slots(slotLeaveSource, process+limitWaiter, reserve, "", "")
	})
}

// stuck says which waiter nobody will wake beside a free slot, once nothing is
// under way.
func (w *wakeWorld) stuck() string {
	if len(w.awake)+len(w.winners) > 0 || w.whole != "" || len(w.held) == w.limit {
		return ""
	}
	for p := range w.asleep {
		return fmt.Sprintf("%s sleeps while %d of %d slots are taken", p, len(w.held), w.limit)
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
	switch event := random.Intn(8); {
	case event == 0 && w.whole == "":
		w.looks("X", false)
	case event == 1 && w.whole == "":
		value := w.value("E")
		if words, err := w.acquire(ask{value: value, process: "E"}); err == nil && words[0] == int64(1) {
			w.whole = value
		}
	case event == 2 && w.whole != "":
		w.wakes(func() { w.release(w.whole) })
		w.whole = ""
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
	case event == 7:
		if p := waiters[random.Intn(len(waiters))]; !w.awake[p] && !w.asleep[p] && !w.winners[p] {
			w.looks(p, true)
		}
	}
}

// settle has what is under way end, in any order.
func (w *wakeWorld) settle(random *rand.Rand) {
	for len(w.awake)+len(w.winners) > 0 {
		if p := oneOf(random, w.winners); p != "" && (len(w.awake) == 0 || random.Intn(2) == 0) {
			w.leaves(p)
		} else {
			w.looks(oneOf(random, w.awake), true)
		}
	}
}

// Whatever happens on a node, and in whichever order what was sent arrives there:
// no waiter is left asleep beside a free slot.
func TestScripts_Slots_NoWaiterSleepsBesideAFreeSlot(t *testing.T) {
	waiters := []string{"Q", "R", "S"}
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
				w.wakes(func() { w.release(w.whole) })
				w.whole = ""
			}
			w.settle(random)
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
		if stuck, what := run(t, b, true, 300); stuck > 0 {
			t.Errorf("in %d worlds, the last: %s", stuck, what)
		}
		if stuck, _ := run(t, b, false, 100); stuck == 0 {
			t.Error("too little happens: nobody sleeps although winners pass nothing on")
		}
	})
}
