package main

import (
	"fmt"
	"sync"
)

// store keeps orders. A lock alone cannot protect it from a process that was
// stopped, so it remembers the newest token of all reads and writes, and
// refuses older ones.
type store struct {
	mu       sync.Mutex
	newest   int64
	last     int // the last finished order
	written  []write
	rejected int
}

// write is one accepted write.
type write struct {
	order int
	token int64
	who   string
}

// next returns the number of the next order.
func (s *store) next(token int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admitLocked(token); err != nil {
		return 0, err
	}
	return s.last + 1, nil
}

// finish records that the order is finished.
func (s *store) finish(token int64, order int, who string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admitLocked(token); err != nil {
		s.rejected++
		return err
	}
	s.last = order
	s.written = append(s.written, write{order, token, who})
	return nil
}

func (s *store) admitLocked(token int64) error {
	if token < s.newest {
		return fmt.Errorf("token %d is older than %d", token, s.newest)
	}
	s.newest = token
	return nil
}

// count returns the number of finished orders.
func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.written)
}

// audit checks the writes without trusting the store's own check.
func audit(written []write) (stale, twice, missing []string) {
	var newest int64
	last := 0
	for _, w := range written {
		if w.token < newest {
			stale = append(stale, fmt.Sprintf("order %d by worker %s with token %d after token %d", w.order, w.who, w.token, newest))
		}
		newest = max(newest, w.token)
		switch {
		case w.order <= last:
			twice = append(twice, fmt.Sprintf("order %d by worker %s", w.order, w.who))
		case w.order > last+1:
			missing = append(missing, fmt.Sprintf("%d before order %d", w.order-1-last, w.order))
		}
		last = max(last, w.order)
	}
	return stale, twice, missing
}
