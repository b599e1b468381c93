package keepalive

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// BenchmarkLoss_MassLoss kills the nodes under 20,000 leases and measures how long
// after its deadline each holder is notified. The margin is what it may take.
// Run it with -benchtime 1x.
func BenchmarkLoss_MassLoss(b *testing.B) {
	const many, ttl, callers = 20_000, 6 * time.Second, 64
	for range b.N {
		s := harness.Real(b, 3, redisserver.Options{})
		c, err := nodeset.Open(b.Context(), nodeset.Config{URLs: s.URLs(), NodeTimeout: time.Second, Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		leases, err := New(c, Config{TTL: ttl})
		if err != nil {
			b.Fatal(err)
		}
		held := make([]*Lease, many)
		var wg sync.WaitGroup
		for w := range callers {
			wg.Go(func() {
				for i := w; i < many; i += callers {
					held[i], _ = leases.TryAcquire(b.Context(), fmt.Sprint("job:", i))
				}
			})
		}
		wg.Wait()
		var mu sync.Mutex
		var late []time.Duration
		for i := 0; i < many; i += 40 {
			l := held[i]
			if l == nil || l.Err() != nil {
				continue
			}
			wg.Go(func() {
				<-l.Done()
				at := time.Now()
				mu.Lock()
				defer mu.Unlock()
				late = append(late, at.Sub(l.Deadline()))
			})
		}
		for i := range s.Len() {
			s.Stop(i)
		}
		wg.Wait()
		slices.Sort(late)
		b.ReportMetric(float64(late[len(late)/2])/1e6, "median-ms")
		b.ReportMetric(float64(late[len(late)*99/100])/1e6, "p99-ms")
		b.ReportMetric(float64(late[len(late)-1])/1e6, "last-ms")
		b.ReportMetric(float64(nodeset.Margin(ttl))/1e6, "margin-ms")
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		_ = leases.Close(ctx)
		_ = c.Close(ctx)
		cancel()
	}
}
