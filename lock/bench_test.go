package lock

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lease"
)

func benchLocker(b *testing.B, s harness.Set) *Locker { return benchLockerWith(b, s, Config{}) }

func benchLockerWith(b *testing.B, s harness.Set, cfg Config) *Locker {
	b.Helper()
	c, err := cluster.Open(b.Context(), cluster.Config{URLs: s.URLs()})
	if err != nil {
		b.Fatal(err)
	}
	k, err := New(c, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		k.Close(context.Background())
		c.Close(context.Background())
	})
	return k
}

func onBoth(b *testing.B, fn func(b *testing.B, k *Locker)) {
	b.Run("embedded", func(b *testing.B) { fn(b, benchLocker(b, harness.Embedded(b, 5))) })
	b.Run("redis", func(b *testing.B) { fn(b, benchLocker(b, harness.Real(b, 5, redisserver.Options{}))) })
}

// BenchmarkLocker_Alone is one caller that locks and unlocks on five nodes.
func BenchmarkLocker_Alone(b *testing.B) {
	onBoth(b, func(b *testing.B, k *Locker) {
		b.ReportAllocs()
		for b.Loop() {
			if err := k.WithLock(b.Context(), "alone", nothing); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkLocker_Retained is the caller of Alone in a process that retains its keys.
func BenchmarkLocker_Retained(b *testing.B) {
	k := benchLockerWith(b, harness.Real(b, 5, redisserver.Options{}), Config{Retain: time.Minute})
	b.ReportAllocs()
	for b.Loop() {
		if err := k.WithLock(b.Context(), "alone", nothing); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLocker_Wide is 128 callers for each processor, each on a key of its own.
func BenchmarkLocker_Wide(b *testing.B) {
	onBoth(b, func(b *testing.B, k *Locker) {
		var id atomic.Int64
		b.SetParallelism(128)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			key := fmt.Sprintf("wide:%d", id.Add(1))
			for pb.Next() {
				if err := k.WithLock(b.Context(), key, nothing); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkLocker_HandOver is 32 callers for each processor on one key.
func BenchmarkLocker_HandOver(b *testing.B) {
	onBoth(b, func(b *testing.B, k *Locker) {
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := k.WithLock(b.Context(), "hot", nothing); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(k.Stats().HandOvers)/float64(k.Stats().Acquired), "handed-over/op")
	})
}

// BenchmarkLocker_Memory reports the heap that a held lock and a waiter take. Run it with -benchtime 1x.
func BenchmarkLocker_Memory(b *testing.B) {
	const many = 10_000
	k := benchLocker(b, harness.Real(b, 5, redisserver.Options{}))
	b.Run("held", func(b *testing.B) {
		held := make([]*lease.Lease, many)
		before := heapInUse()
		for i := range held {
			var err error
			if held[i], err = k.TryLock(b.Context(), fmt.Sprintf("held:%d", i)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heapInUse()-before)/many, "heap-B/lock")
		b.ReportMetric(0, "ns/op")
		for _, l := range held {
			l.Release(b.Context())
		}
	})
	b.Run("waiting", func(b *testing.B) {
		l, err := k.Lock(b.Context(), "awaited")
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		before, waits := heapInUse(), k.Stats().Waits
		for range many {
			wg.Go(func() { k.WithLock(ctx, "awaited", nothing) })
		}
		harness.Eventually(b, "all wait", func() bool { return k.Stats().Waits == waits+many })
		b.ReportMetric(float64(heapInUse()-before)/many, "heap-B/waiter")
		b.ReportMetric(0, "ns/op")
		cancel()
		wg.Wait()
		l.Release(b.Context())
	})
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkLocker_Limit is one caller of a key with a limit, on five nodes, with
// all other slots free, and with all of them taken.
func BenchmarkLocker_Limit(b *testing.B) {
	for _, limit := range []int{4, 64, 1024} {
		for _, full := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/full=%t", limit, full), func(b *testing.B) {
				k := benchLocker(b, harness.Real(b, 5, redisserver.Options{}))
				for range limit - 1 {
					if !full {
						break
					}
					if _, err := k.Lock(b.Context(), "k", Limit(limit)); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := k.WithLock(b.Context(), "k", nothing, Limit(limit)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkLocker_LimitHot is 64 goroutines that want one of 8 slots for work of 5
// ms: it reports the part of the time that the slots were in use.
func BenchmarkLocker_LimitHot(b *testing.B) {
	k := benchLocker(b, harness.Real(b, 5, redisserver.Options{}))
	const limit, work = 8, 5 * time.Millisecond
	var worked, now, most atomic.Int64
	began := time.Now()
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = k.WithLock(b.Context(), "hot", func(context.Context) error {
				in := now.Add(1)
				for old := most.Load(); in > old && !most.CompareAndSwap(old, in); old = most.Load() {
				}
				start := time.Now()
				time.Sleep(work)
				worked.Add(int64(time.Since(start)))
				now.Add(-1)
				return nil
			}, Limit(limit))
		}
	})
	b.ReportMetric(float64(worked.Load())/float64(time.Since(began))/limit, "of-the-rate")
	b.ReportMetric(float64(most.Load()), "inside")
}
