package keepalive

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"
)

// An exhaustive search for deadlocks of clients that lock one or several keys each.
// It visits every state that they can reach in any order of events, and looks for
// one from which not all of them can finish any more. A key that several wait for
// goes to any of them. The clients decide with prefix, the function that LockAll
// decides with.

const crowdClients = 3

// A crowd is all that matters at one moment.
type crowd struct {
	clients [crowdClients]crowdClient
	losses  uint8 // how many keys may still be lost
}

type crowdClient struct {
	phase crowdPhase
	asked uint8 // while asking: the keys that have answered, a bit for each, by its order
	holds uint8 // the keys that it believes to hold
	lost  uint8 // those of them that are lost
}

type crowdPhase uint8

const (
	crowdAsking crowdPhase = iota
	crowdWaiting
	crowdHolding
	crowdDone
)

// A crowdModel says what is searched.
type crowdModel struct {
	orders [crowdClients][]string // the keys of each client, in the order in which it acquires them
	reads  [crowdClients]uint8    // which of them it shares with others that read them
	losses uint8

	// What a wrong algorithm would leave out.
	unsorted  bool // keys are acquired as the client names them
	keepsAll  bool // keys behind the first that is refused are kept
	keepsLoss bool // keys behind one that was lost are kept
}

// free reports whether a client can have its key j. A reader never passes a writer
// that waits while others read, as if all readers came after it.
func (m *crowdModel) free(w *crowd, client, j int) bool {
	reads := m.reads[client]>>j&1 == 1
	read, waits := false, false
	for i := range w.clients {
		for k, other := range m.orders[i] {
			c, writes := &w.clients[i], m.reads[i]>>k&1 == 0
			switch {
			case other != m.orders[client][j]:
			case (c.holds&^c.lost)>>k&1 == 1 && (writes || !reads):
				return false
			case (c.holds&^c.lost)>>k&1 == 1:
				read = true
			case writes && c.phase == crowdWaiting && int(c.first()) == k:
				waits = true
			}
		}
	}
	return !read || !waits
}

// first is the first key that a client does not hold.
func (c *crowdClient) first() uint8 { return uint8(bits.TrailingZeros8(^c.holds)) }

// steps calls yield with each state that can follow w, and whether a loss led there.
func (m *crowdModel) steps(w crowd, yield func(next crowd, loss bool)) {
	for i, keys := range m.orders {
		step := func(loss bool, change func(c *crowdClient)) {
			after := w
			change(&after.clients[i])
			if loss {
				after.losses--
			}
			yield(after, loss)
		}
		c := w.clients[i]
		switch c.phase {
		case crowdAsking:
			for j := range keys {
				if (c.asked|c.holds)>>j&1 == 0 {
					step(false, func(c *crowdClient) {
						c.asked |= 1 << j
						if m.free(&w, i, j) {
							c.holds |= 1 << j
						}
					})
				}
			}
			if c.asked|c.holds == 1<<len(keys)-1 {
				step(false, func(c *crowdClient) { m.settles(c, len(keys)) })
			}
		case crowdWaiting:
			if c.lost != 0 { // which ends the wait
				step(false, func(c *crowdClient) { m.looks(c, len(keys)) })
			}
			if j := c.first(); m.free(&w, i, int(j)) {
				step(false, func(c *crowdClient) {
					c.holds |= 1 << j
					m.looks(c, len(keys))
				})
			}
		case crowdHolding:
			step(false, func(c *crowdClient) { *c = crowdClient{phase: crowdDone} })
		}
		for j := range keys {
			if w.losses > 0 && (c.holds&^c.lost)>>j&1 == 1 {
				step(true, func(c *crowdClient) { c.lost |= 1 << j })
			}
		}
	}
}

// settles ends a round in which a client has asked for its keys.
func (m *crowdModel) settles(c *crowdClient, keys int) {
	if !m.keepsAll {
		c.holds &= 1<<prefix(keys, func(j int) bool { return c.holds>>j&1 == 1 }) - 1
		c.lost &= c.holds
	}
	c.phase, c.asked = crowdWaiting, 0
	if int(c.first()) >= keys {
		m.looks(c, keys)
	}
}

// looks has a client find out what it has lost, and go on.
func (m *crowdModel) looks(c *crowdClient, keys int) {
	if c.phase = crowdAsking; m.keepsLoss && c.lost != 0 {
		c.holds &^= c.lost
		c.phase = crowdWaiting
	} else {
		c.holds &= 1<<prefix(keys, func(j int) bool { return c.lost>>j&1 == 0 }) - 1
	}
	c.lost = 0
	if int(c.first()) >= keys {
		c.phase = crowdHolding
	}
}

// search returns how many states there are, and one from which not all clients can
// finish without further losses, if there is one.
func (m *crowdModel) search() (states int, stuck *crowd) {
	all := []crowd{{losses: m.losses}}
	number, before := map[crowd]int{all[0]: 0}, [][]int{nil}
	var finish []int
	for at := 0; at < len(all); at++ {
		m.steps(all[at], func(next crowd, loss bool) {
			n, seen := number[next]
			if !seen {
				n = len(all)
				number[next] = n
				all, before = append(all, next), append(before, nil)
			}
			if !loss {
				before[n] = append(before[n], at)
			}
		})
		if all[at].done() {
			finish = append(finish, at)
		}
	}
	finishes := make([]bool, len(all))
	for len(finish) > 0 {
		at := finish[len(finish)-1]
		if finish = finish[:len(finish)-1]; !finishes[at] {
			finishes[at] = true
			finish = append(finish, before[at]...)
		}
	}
	if at := slices.Index(finishes, false); at >= 0 {
		return len(all), &all[at]
	}
	return len(all), nil
}

func (w *crowd) done() bool {
	return !slices.ContainsFunc(w.clients[:], func(c crowdClient) bool { return c.phase != crowdDone })
}

// everyCrowd searches each way in which the clients can want keys, and returns how
// many states there are in all, and the first that is stuck.
func everyCrowd(m crowdModel) (states int, stuck string) {
	lists := [][]string{{"a"}, {"b"}, {"c"}, {"a", "b"}, {"a", "c"}, {"b", "c"}, {"a", "b", "c"}}
	if m.unsorted {
		lists = [][]string{{"a", "b"}, {"b", "a"}}
	}
	for i := range lists {
		for j := range lists[:i+1] {
			for k := range lists[:j+1] {
				m.orders = [crowdClients][]string{lists[i], lists[j], lists[k]}
				n, at := m.search()
				if states += n; at != nil {
					return states, fmt.Sprintf("%v: %+v", m.orders, *at)
				}
			}
		}
	}
	return states, ""
}

// everyMix is everyCrowd for two keys, of which clients read some.
func everyMix(m crowdModel) (states int, stuck string) {
	type want struct {
		keys  []string
		reads uint8
	}
	wants := []want{{[]string{"a"}, 0}, {[]string{"a"}, 1}, {[]string{"b"}, 0}, {[]string{"b"}, 1}}
	for reads := range uint8(4) {
		wants = append(wants, want{[]string{"a", "b"}, reads})
		if m.unsorted {
			wants = append(wants, want{[]string{"b", "a"}, reads})
		}
	}
	for i := range wants {
		for j := range wants[:i+1] {
			for k := range wants[:j+1] {
				for client, n := range [crowdClients]int{i, j, k} {
					m.orders[client], m.reads[client] = wants[n].keys, wants[n].reads
				}
				n, at := m.search()
				if states += n; at != nil {
					return states, fmt.Sprintf("%v, of which are read %b: %+v", m.orders, m.reads, *at)
				}
			}
		}
	}
	return states, ""
}

func TestSearch_LockAllNeverDeadlocksWithReaders(t *testing.T) {
	t.Parallel()
	states, stuck := everyMix(crowdModel{losses: 1})
	if stuck != "" {
		t.Error("stuck: " + stuck)
	}
	t.Logf("%d states", states)
	for rule, m := range map[string]crowdModel{
		"one order":                         {unsorted: true},
		"later keys are released":           {keepsAll: true},
		"a loss releases what is behind it": {keepsLoss: true, losses: 1},
	} {
		if _, stuck := everyMix(m); stuck == "" {
			t.Errorf("without the rule %q nobody is stuck", rule)
		}
	}
}

func TestSearch_LockAllNeverDeadlocks(t *testing.T) {
	t.Parallel()
	states, stuck := everyCrowd(crowdModel{losses: 1})
	if stuck != "" {
		t.Error("stuck: " + stuck)
	}
	t.Logf("%d states", states)
}

func TestSearch_LockAllNeedsEachOfItsRules(t *testing.T) {
	for rule, m := range map[string]crowdModel{
		"one order":                         {unsorted: true},
		"later keys are released":           {keepsAll: true},
		"a loss releases what is behind it": {keepsLoss: true, losses: 1},
	} {
		if _, stuck := everyCrowd(m); stuck == "" {
			t.Errorf("without the rule %q nobody is stuck", rule)
		} else {
			t.Logf("without the rule %q: %s", rule, stuck)
		}
	}
}
