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
		w := worker{library: l, shared: t.Keys == turn.Shared, next: keysOf(t, i)}
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
	shared  bool
	next    func() string
}

func (w *worker) work(ctx context.Context, until time.Time) turn.Sample {
	var s turn.Sample
	done, last, lastKey := 0, int64(0), ""
	for asked := time.Now(); asked.Before(until); asked = time.Now() {
		var took time.Duration
		key := w.next()
		err := w.library.under(ctx, key, func(token int64) {
			took = time.Since(asked)
			if token != 0 && token <= last && key == lastKey {
				s.Broken = append(s.Broken, fmt.Sprintf("%s: token %d came after %d", key, token, last))
			}
			last, lastKey = token, key
			if w.shared {
				h := turn.Hold{From: turn.Now(), Token: token}
				h.To = turn.Now()
				s.Holds = append(s.Holds, h)
			}
		})
		if err != nil {
			s.Fail(err.Error(), 1)
			continue
		}
		if !w.shared {
			took = time.Since(asked)
		}
		s.Latencies = append(s.Latencies, took)
		done++
	}
	s.PerWorker = []int{done}
	return s
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
