//go:build unix

package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
)

// grace is the time after which an operation that has not ended with its turn
// has failed.
const grace = 20 * time.Second

// drive has workers lock and unlock as fast as they can. A shared key is timed
// from the call to the acquisition, other keys from the call to the end of the
// unlock.
func drive(l locker, t turn.Traffic) turn.Sample {
	ctx, cancel := context.WithTimeout(context.Background(), t.For+grace)
	defer cancel()
	parts := make([]turn.Sample, t.Workers)
	runtime.GC()
	meter := startMeter()
	var wg sync.WaitGroup
	for i := range t.Workers {
		w := worker{library: l, traffic: t, first: i, next: keysOf(t, i)}
		wg.Go(func() { parts[i] = w.work(ctx, meter.began.Add(t.For)) })
	}
	wg.Wait()
	all := turn.Merge(parts)
	meter.stop(&all)
	return all
}

// keysOf returns the function that names the keys of worker i one after another.
func keysOf(t turn.Traffic, i int) func() string {
	key := t.Key
	if t.Keys != turn.Shared {
		key += ":" + strconv.Itoa(i)
	}
	if t.Keys != turn.Fresh {
		return func() string { return key }
	}
	n := 0
	return func() string {
		n++
		return key + ":" + strconv.Itoa(n)
	}
}

type worker struct {
	library locker
	traffic turn.Traffic
	first   int // the number of its first operation
	next    func() string
}

func (w *worker) work(ctx context.Context, until time.Time) turn.Sample {
	var s turn.Sample
	shared := w.traffic.Keys == turn.Shared
	done, reads, last, lastKey := 0, 0, int64(0), ""
	for n, asked := w.first, time.Now(); w.goesOn(n, asked, until); n, asked = n+1, time.Now() {
		var took time.Duration
		key := w.next()
		lock, reading := w.operation(n)
		err := lock(ctx, key, func(h turn.Hold) {
			took = time.Since(asked)
			if shared {
				s.Holds = append(s.Holds, w.hold(h))
				return
			}
			if h.Token != 0 && h.Token <= last && key == lastKey {
				s.Broken = append(s.Broken, fmt.Sprintf("%s: token %d came after %d", key, h.Token, last))
			}
			last, lastKey = h.Token, key
		})
		if err != nil {
			s.Fail(err.Error(), 1)
			continue
		}
		if !shared {
			took = time.Since(asked)
		}
		s.Latencies = append(s.Latencies, took)
		done++
		if reading {
			reads++
		}
	}
	s.PerWorker, s.Reads = []int{done}, []int{reads}
	return s
}

// goesOn reports whether operation n takes place.
func (w *worker) goesOn(n int, now, until time.Time) bool {
	if w.traffic.Once {
		return n == w.first
	}
	return now.Before(until)
}

// operation is how operation n locks, and whether it only reads. A library
// without readers locks all the same.
func (w *worker) operation(n int) (lock func(context.Context, string, func(turn.Hold)) error, reads bool) {
	reads = n%10 < w.traffic.Reads
	if r, ok := w.library.(reader); ok && reads {
		return r.read, true
	}
	return w.library.under, reads
}

// hold works under the lock, and returns when it did.
func (w *worker) hold(h turn.Hold) turn.Hold {
	h.From = turn.Now()
	if w.traffic.Work > 0 {
		time.Sleep(w.traffic.Work)
	}
	h.To = turn.Now()
	return h
}

// meter measures what this process uses.
type meter struct {
	cpu     time.Duration
	began   time.Time
	mallocs uint64
}

func startMeter() meter {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return meter{turn.CPU(), time.Now(), m.Mallocs}
}

// stop adds what was used since the start to s.
func (m meter) stop(s *turn.Sample) {
	s.Elapsed, s.CPU = time.Since(m.began), turn.CPU()-m.cpu
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	s.Mallocs = after.Mallocs - m.mallocs
}
