//go:build unix

package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
)

// leaser is a library that renews leases in the background.
type leaser interface {
	lease(ctx context.Context, key string) (held, error)
}

// acquire acquires leases, keeps them, and measures the memory they take.
func (d *driver) acquire(o turn.Leases) (turn.Sample, error) {
	library, ok := d.library.(leaser)
	if !ok {
		return turn.Sample{}, fmt.Errorf("%s: the driver cannot hold leases of this library", d.open.Library)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	keys := make([]string, o.Count)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s:%d", o.Key, i)
	}
	d.leases = make([]held, o.Count)
	errs := make([]error, o.Workers)
	before := inUse()
	var wg sync.WaitGroup
	for w := range o.Workers {
		wg.Go(func() {
			for i := w; i < o.Count && errs[w] == nil; i += o.Workers {
				d.leases[i], errs[w] = library.lease(ctx, keys[i])
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return turn.Sample{}, err
		}
	}
	s := turn.Sample{Memory: float64(inUse()-before) / float64(o.Count)}
	runtime.KeepAlive(keys)
	return s, nil
}

// inUse is the memory in use after a garbage collection, stacks included.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // the first one only moves what is in a sync.Pool aside
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// keep measures renewals for a time. One operation is a lease that was kept
// alive for one renewal interval; the deadlines of the leases tell how many.
func (d *driver) keep(window time.Duration) turn.Sample {
	var s turn.Sample
	before := d.renewed()
	meter := startMeter()
	time.Sleep(window)
	meter.stop(&s)
	s.PerWorker = []int{int((d.renewed() - before) / int64(d.open.RenewEvery))}
	for _, l := range d.leases {
		if err := l.Err(); err != nil {
			s.Fail(err.Error(), 1)
		}
	}
	return s
}

// renewed is the sum over all leases.
func (d *driver) renewed() (sum int64) {
	for _, l := range d.leases {
		sum += l.renewed()
	}
	return sum
}
