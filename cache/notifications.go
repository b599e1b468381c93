package cache

import "sync"

// notifications wakes callers of this process that wait for the load of another
// caller, by the name of the entry.
type notifications struct {
	mu  sync.Mutex
	all map[string]*notification
}

// notification is one expected notification.
type notification struct {
	done    chan struct{}
	waiters int
}

// listen returns a channel that is closed at the next notification. It must be
// called before the command whose answer may be to wait; forget must be called
// afterwards.
func (b *notifications) listen(name string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[string]*notification{}
	}
	l := b.all[name]
	if l == nil {
		l = &notification{done: make(chan struct{})}
		b.all[name] = l
	}
	l.waiters++
	return l.done
}

func (b *notifications) forget(name string, done <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.all[name]; l != nil && l.done == done {
		if l.waiters--; l.waiters == 0 {
			delete(b.all, name)
		}
	}
}

func (b *notifications) notify(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.all[name]; l != nil {
		close(l.done)
		delete(b.all, name)
	}
}

func (b *notifications) notifyAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, l := range b.all {
		close(l.done)
		delete(b.all, name)
	}
}
