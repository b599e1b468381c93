package main

import (
	"bufio"
	"fmt"
	"net"
	"sync"
)

// store is what workers write to. It takes an item only under a token that is not older than the newest it has seen, and
// each item once: a worker that was killed between its write and its checkpoint leaves the next one to try again.
type store struct {
	half chan struct{} // closed when it has killAt items
	dead chan struct{} // closed when the first worker has been killed; it gets no answer to its last write

	mu     sync.Mutex
	newest int64
	took   [items]int // how often each item was stored
	count  int
	again  int // how often an item was offered again
	stale  int // how often a token was refused
}

func (s *store) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				var token int64
				var item int
				if _, err := fmt.Sscan(lines.Text(), &token, &item); err != nil || item < 0 || item >= items {
					return
				}
				answer := s.put(token, item)
				select {
				case <-s.half:
					<-s.dead
				default:
				}
				fmt.Fprintln(conn, answer)
			}
		}()
	}
}

func (s *store) put(token int64, item int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case token < s.newest:
		s.stale++
		return "stale"
	case s.took[item] > 0:
		s.newest = token
		s.again++
		return "had it"
	}
	s.newest = token
	s.took[item]++
	if s.count++; s.count == killAt {
		close(s.half)
	}
	return "ok"
}

// lastToken is the newest token there was.
func (s *store) lastToken() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// audit reports what was done, and an error if it was not each item once.
func (s *store) audit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for item, n := range s.took {
		if n != 1 {
			return fmt.Errorf("item %d was done %d times", item, n)
		}
	}
	fmt.Printf("store: %d items, each once; %d offered again, %d refused\n", s.count, s.again, s.stale)
	return nil
}
