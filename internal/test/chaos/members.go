//go:build unix

package chaos

import (
	"slices"
	"sync"
)

// members records which nodes form the set, and which nodes clients list.
type members struct {
	mu   sync.Mutex
	now  []int // before the current change
	next []int // after it
	list []int // for clients that are started
}

func newMembers(first int) *members {
	var all []int
	for n := range first {
		all = append(all, n)
	}
	return &members{now: all, next: all, list: all}
}

func (m *members) listed() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.list
}

// change records that the set is changing to the nodes in next.
func (m *members) change(next []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = next
}

// told makes clients that are started from now on use the new list.
func (m *members) told() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = m.next
}

// changed records that the change is complete.
func (m *members) changed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.next
}

// among moves a fault that was drawn for any node to a node of the set, the first that the fault names. A fault of one
// client affects all nodes of the set that it names. outage is set if the fault leaves no quorum before or after the
// change.
func (m *members) among(f Fault) Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(f.Nodes) == 0 {
		return f
	}
	f.Nodes = slices.DeleteFunc(slices.Clone(f.Nodes), func(n int) bool {
		return !slices.Contains(m.now, n) && !slices.Contains(m.next, n)
	})
	if f.Client == Everybody {
		f.Nodes = f.Nodes[:1]
		f.outage = min(len(m.now), len(m.next)) < 3
	}
	return f
}
