package web

import (
	"context"
	"sync"
	"time"
)

// linger is how long the nodes are asked after the last request, so that
// reloading a page finds fresh data.
const linger = 10 * time.Second

// demand says whether any page is open. The nodes are asked only while one is.
type demand struct {
	mu      sync.Mutex
	streams int           // pages that are open and live
	seen    time.Time     // the last request
	woken   chan struct{} // closed at the next request
}

func newDemand() *demand { return &demand{woken: make(chan struct{})} }

// touch notes a request.
func (d *demand) touch() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = time.Now()
	close(d.woken)
	d.woken = make(chan struct{})
}

// join counts a stream, unless there are most already. The caller must leave.
func (d *demand) join(most int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.streams >= most {
		return false
	}
	d.streams++
	return true
}

func (d *demand) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams--
	d.seen = time.Now()
}

// wait returns true once a page is open, and false when ctx ends.
func (d *demand) wait(ctx context.Context) bool {
	for {
		d.mu.Lock()
		wanted := d.streams > 0 || !d.seen.IsZero() && time.Since(d.seen) < linger
		woken := d.woken
		d.mu.Unlock()
		if ctx.Err() != nil {
			return false
		}
		if wanted {
			return true
		}
		select {
		case <-woken:
		case <-ctx.Done():
		}
	}
}
