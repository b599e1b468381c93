package cluster

import "sync"

// localWaiters counts the waiters of this process by what they wait for. The nodes know the process only.
type localWaiters struct {
	mu sync.Mutex
	at map[string]waiters // by name
}

type waiters struct {
	n      int
	queued bool // the process may stand in queues on the nodes
}

// AddWaiter notes that a goroutine of this process waits for name, until RemoveWaiter.
func (c *Cluster) AddWaiter(name string) {
	a := &c.localWaiters
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[string]waiters{}
	}
	was := a.at[name]
	was.n++
	a.at[name] = was
}

// RemoveWaiter ends what AddWaiter noted; queued says that the process may stand in queues on the nodes. It calls leave and
// reports to it whether others in this process still wait for name. If none does, it calls leave only if the process may be
// queued, by any of its waiters since the first of them. leave must only send: AddWaiter waits for it, so that what a new
// waiter sends comes behind.
func (c *Cluster) RemoveWaiter(name string, queued bool, leave func(others bool)) {
	a := &c.localWaiters
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.at[name]
	was.n--
	was.queued = was.queued || queued
	if was.n > 0 {
		a.at[name] = was
		leave(true)
		return
	}
	delete(a.at, name)
	if was.queued {
		leave(false)
	}
}

// IfWaiting calls fn, as RemoveWaiter calls leave, if a goroutine of this process waits for name.
func (c *Cluster) IfWaiting(name string, fn func()) {
	a := &c.localWaiters
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at[name].n > 0 {
		fn()
	}
}

// UnlessWaiting calls leave, as RemoveWaiter does, if nobody in this process waits for name, and reports whether it did.
func (c *Cluster) UnlessWaiting(name string, leave func()) bool {
	a := &c.localWaiters
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at[name].n > 0 {
		return false
	}
	leave()
	return true
}
