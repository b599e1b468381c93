package cache

import "sync"

// bells wake those in this process who wait for another's load to end, by the name of the entry.
type bells struct {
	mu  sync.Mutex
	all map[string]*bell
}

type bell struct {
	rung chan struct{}
	ears int
}

// listen returns a channel that is closed at the next ring. It has to be called before the question whose answer may be
// to wait, and forget after.
func (b *bells) listen(name string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[string]*bell{}
	}
	l := b.all[name]
	if l == nil {
		l = &bell{rung: make(chan struct{})}
		b.all[name] = l
	}
	l.ears++
	return l.rung
}

func (b *bells) forget(name string, rung <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.all[name]; l != nil && l.rung == rung {
		if l.ears--; l.ears == 0 {
			delete(b.all, name)
		}
	}
}

func (b *bells) ring(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.all[name]; l != nil {
		close(l.rung)
		delete(b.all, name)
	}
}

func (b *bells) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, l := range b.all {
		close(l.rung)
		delete(b.all, name)
	}
}
