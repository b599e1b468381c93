package keepalive

import "sync"

// inflight counts what Close waits for beside the leases it releases itself: attempts and waits, which may come by a hold,
// and releases, whose work may still run. The renewer keeps their keys alive until then.
//
// A caller checks after begin whether Close was called: either Close waits for
// the caller, or the caller notices Close.
type inflight struct {
	mu   sync.Mutex
	n    int
	none sync.Cond
}

func (e *inflight) init() { e.none.L = &e.mu }

func (e *inflight) begin() {
	e.mu.Lock()
	e.n++
	e.mu.Unlock()
}

func (e *inflight) end() {
	e.mu.Lock()
	if e.n--; e.n == 0 {
		e.none.Broadcast()
	}
	e.mu.Unlock()
}

func (e *inflight) wait() {
	e.mu.Lock()
	for e.n > 0 {
		e.none.Wait()
	}
	e.mu.Unlock()
}
