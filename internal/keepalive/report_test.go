package keepalive

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// KeyAttribute is the program's, and may call this package.
func TestTelemetry_ReportsUnderNoMutexOfTheEngine(t *testing.T) {
	virtually(t, func(t *testing.T) {
		var s atomic.Pointer[Leases]
		var calls atomic.Int64
		cfg := nodeset.Config{MeterProvider: metricnoop.NewMeterProvider(), KeyAttribute: func(string) string {
			if s := s.Load(); s != nil {
				s.renewer.mu.Lock()
				calls.Add(1)
				s.renewer.mu.Unlock()
				s.queues.Snapshot("lock:job")
			}
			return ""
		}}
		leases := lease(t, newMemory(t, 3).openWith(t, cfg, &gate{}), Config{})
		s.Store(leases)
		did := func(what string, do func()) {
			t.Helper()
			before := calls.Load()
			do()
			synctest.Wait()
			if calls.Load() == before {
				t.Errorf("%s is not reported", what)
			}
		}
		var l, next *Lease
		did("an acquisition", func() { l = locked(t, leases, "job", Request{}) })
		did("a renewal", func() { time.Sleep(l.TTL()) })
		did("a hand-over", func() {
			w := locking(t.Context(), leases, "job", Request{})
			synctest.Wait()
			release(t, l)
			next = given(t, w)
		})
		did("a release", func() { release(t, next) })
		did("a loss", func() { leases.lose(locked(t, leases, "job", Request{}).t, expired) })
	})
}

func TestReasonClass_IsOneOfFew(t *testing.T) {
	for _, tt := range []struct {
		why  quorumlock.Reason
		want quorumlock.Class
	}{
		{expired, "expired"},
		{clockJumped, "clock"},
		{heldTooLong, "max_hold"},
		{overtaken, "overtaken"},
		{foundLate, "found_at_release"},
		{quorumlock.GoneOrTaken, "taken"},
	} {
		if tt.why.Class != tt.want || tt.why.Text == "" {
			t.Errorf("%q is of the class %q, want %q", tt.why.Text, tt.why.Class, tt.want)
		}
	}
}

// The metric of the longest hold counts readers, whether they were first or not, and
// holders that became one.
func TestTelemetry_TheLongestHoldMayBeAReaders(t *testing.T) {
	virtually(t, func(t *testing.T) {
		cfg := nodeset.Config{MeterProvider: metricnoop.NewMeterProvider()}
		s := lease(t, newMemory(t, 3).openWith(t, cfg, &gate{}), Config{})
		longest := func(want time.Duration) {
			t.Helper()
			if d := s.renewer.longest(time.Now()); d < want || d > want+time.Second {
				t.Errorf("the longest is %v, not %v", d, want)
			}
		}
		first := locked(t, s, "job", reads)
		time.Sleep(time.Minute)
		last := locked(t, s, "job", reads)
		longest(time.Minute)
		release(t, first)
		time.Sleep(time.Minute)
		longest(time.Minute)
		release(t, last)
		longest(0)
		writer := locked(t, s, "job", Request{})
		time.Sleep(time.Minute)
		must(t, writer.Downgrade(t.Context()))
		longest(time.Minute)
		release(t, writer)
	})
}
