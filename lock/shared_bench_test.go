package lock

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkLocker_Shared compares 64 readers of one process on one key with 64 holders, at
// the same time of the same run. It reports how many times as often they read.
func BenchmarkLocker_Shared(b *testing.B) {
	onBoth(b, func(b *testing.B, k *Locker) {
		rate := func(opts ...Option) float64 {
			const goroutines = 64
			var all sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			began := time.Now()
			for range goroutines {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if err := k.WithLock(b.Context(), "hot", nothing, opts...); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			return float64(b.N) / time.Since(began).Seconds()
		}
		alone := rate()
		asked := k.Stats().Acquired - k.Stats().HandOvers
		together := rate(Shared())
		asked = k.Stats().Acquired - k.Stats().HandOvers - asked
		b.ReportMetric(float64(asked)/float64(b.N), "asked/shared")
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(alone, "exclusive/s")
		b.ReportMetric(together, "shared/s")
		b.ReportMetric(together/alone, "times")
	})
}
