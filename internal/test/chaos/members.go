//go:build unix

package chaos

import (
	"slices"
	"sync"
)

// members are which nodes are the set, and which of them clients list.
type members struct {
	mu   sync.Mutex
	now  []int // before the change under way
	next []int // after it
	list []int // of clients that are started
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

// change says that the nodes are to be the set.
func (m *members) change(next []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = next
}

// told gives clients that are started from now on the list of the change.
func (m *members) told() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = m.next
}

// changed says that the change is made.
func (m *members) changed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.next
}

// among has a fault that was drawn for any node happen to one of the set, the first that it names; what concerns one client happens
// to all of them. It says whether that leaves a quorum before and after the change.
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
