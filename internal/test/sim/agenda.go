package sim

import (
	"container/heap"
	"sync"
	"time"
)

// agenda is what is to happen in a world, and the one goroutine that has it happen, in order.
type agenda struct {
	bell chan struct{}
	stop chan struct{}
	done chan struct{}

	mu  sync.Mutex
	all events
}

type event struct {
	at time.Time
	do func()
}

func newAgenda() *agenda {
	a := &agenda{bell: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go a.run()
	return a
}

// at has fn called at a moment.
func (a *agenda) at(at time.Time, fn func()) {
	a.mu.Lock()
	heap.Push(&a.all, event{at, fn})
	first := a.all[0].at.Equal(at)
	a.mu.Unlock()
	if first {
		select {
		case a.bell <- struct{}{}:
		default:
		}
	}
}

// next takes out what is due; otherwise it says how long that will take.
func (a *agenda) next() (fn func(), wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.all) == 0 {
		return nil, time.Hour
	}
	if wait := time.Until(a.all[0].at); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&a.all).(event).do, 0
}

func (a *agenda) run() {
	defer close(a.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		fn, wait := a.next()
		if fn != nil {
			fn()
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-a.bell:
		case <-a.stop:
			return
		}
	}
}

// close drops what has not happened.
func (a *agenda) close() {
	close(a.stop)
	<-a.done
}

// events is a heap by time.
type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}
