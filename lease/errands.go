package lease

import "sync"

// errands counts what Close waits for beside the leases it releases itself: attempts and waits, which may come by a hold,
// and releases, whose work may still run. The renewer keeps their keys alive until then.
//
// Who may not begin any more looks whether Close was called after begin: either Close waits for it, or it finds out.
type errands struct {
	mu   sync.Mutex
	n    int
	none sync.Cond
}

func (e *errands) init() { e.none.L = &e.mu }

func (e *errands) begin() {
	e.mu.Lock()
	e.n++
	e.mu.Unlock()
}

func (e *errands) end() {
	e.mu.Lock()
	if e.n--; e.n == 0 {
		e.none.Broadcast()
	}
	e.mu.Unlock()
}

func (e *errands) wait() {
	e.mu.Lock()
	for e.n > 0 {
		e.none.Wait()
	}
	e.mu.Unlock()
}
