package lock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

// refused is a call that is refused within the process, on the caller's goroutine alone.
func refused(tb testing.TB, k *Locker) func() {
	tb.Helper()
	held, err := k.Lock(tb.Context(), "k")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { held.Release(context.Background()) })
	return func() {
		if err := k.WithLock(held.Context(), "k", nothing); !errors.Is(err, ErrReentrant) {
			tb.Fatal(err)
		}
	}
}

func TestTelemetry_WithoutProvidersReportingAllocatesNothing(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	off := locker(t, open(t, nodes, cluster.Config{}), Config{})
	if off.tel != nil || off.c.Telemetry() != nil {
		t.Fatal("something is reported without being asked for")
	}
	ctx, key := t.Context(), "k"
	allocs := testing.AllocsPerRun(100, func() {
		under, _ := off.tel.Under(ctx, key)
		under, span := off.tel.UnderAll(under, 2)
		began := off.tel.Now()
		off.tel.Waited(under, key, "exclusive", began, "")
		off.tel.Attempted(under, key, "exclusive", began, "")
		off.tel.Granted(key, 1)
		off.tel.Renewed(key, 1, 2, "extended")
		off.tel.Held(key, "shared", began, "released")
		off.tel.Lost(key, "limit", "expired")
		off.tel.Node("a").Answered(off.tel.Node("a").Now())
		span.Got(1)
		span.Began()
		span.Done()
		span.Failed("held")
		span.End()
		if under != ctx || !began.IsZero() {
			t.Fatal("something was begun")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations where nothing is reported", allocs)
	}
}

func TestTelemetry_WithoutProvidersACallAllocatesNoMoreThanItsWork(t *testing.T) {
	k := locker(t, open(t, harness.Embedded(t, 3), cluster.Config{}), Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that it is refused at once
	work := testing.AllocsPerRun(1000, func() { k.engine().Lock(ctx, "k", keepalive.Request{}) })
	call := testing.AllocsPerRun(1000, func() { k.WithLock(ctx, "k", nothing) })
	if call > work {
		t.Errorf("%v allocations, %v without reporting", call, work)
	}
}

func TestLog_ALoss(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	c := open(t, harness.Embedded(t, 3), cluster.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	k := locker(t, c, Config{})
	err := k.WithLock(t.Context(), "k", func(ctx context.Context) error { <-ctx.Done(); return nil }, MaxHold(time.Millisecond))
	var lost *LostError
	if !errors.As(err, &lost) {
		t.Fatal(err)
	}
	k.Close(t.Context())
	c.Close(t.Context()) // which waits for what is logged
	want := fmt.Sprintf(`level=ERROR msg="redlock: lock lost" key=k token=%d reason="held for MaxHold"`, lost.Token)
	if got := log.String(); strings.Count(got, "lost") != 1 || !strings.Contains(got, want) {
		t.Errorf("the log is\n%s\nwant one line with\n%s", got, want)
	}
}

// What a program is called back for is called with no mutex held: each call uses the Locker and the lease it is about.
func TestTelemetry_ReportsUnderNoMutex(t *testing.T) {
	t.Parallel()
	var k *Locker
	var held atomic.Pointer[lease.Lease]
	var calls atomic.Int64
	c := open(t, harness.Embedded(t, 3), cluster.Config{
		NodeTimeout: renewed, MeterProvider: metricnoop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider(),
		KeyAttribute: func(string) string {
			k.mu.Lock()
			calls.Add(1)
			k.mu.Unlock()
			if l := held.Load(); l != nil {
				k.c.Queues().Snapshot("lock:k")
				l.Deadline()
				l.Context()
			}
			return ""
		},
	})
	k = locker(t, c, Config{TTL: 3*renewed + time.Second})
	take := func(ctx context.Context) { l, _ := lease.FromContext(ctx); held.Store(l) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		first := make(chan struct{})
		go k.WithLock(t.Context(), "k", func(ctx context.Context) error {
			take(ctx)
			close(first)
			harness.Eventually(t, "the other waits", func() bool { return k.Stats().Waits == 1 })
			return nil
		})
		<-first
		k.WithLock(t.Context(), "k", func(ctx context.Context) error { // by a hand-over
			take(ctx)
			before := calls.Load()
			harness.Eventually(t, "it is renewed", func() bool { return calls.Load() > before })
			return k.WithLock(ctx, "k", nothing)
		})
		k.WithLock(t.Context(), "k", func(ctx context.Context) error { take(ctx); <-ctx.Done(); return nil }, MaxHold(time.Millisecond))
		k.WithLock(t.Context(), "k", func(ctx context.Context) error { // lost at its next renewal
			take(ctx)
			seen, err := k.Inspect(ctx, "k")
			if err == nil {
				_, err = k.ForceRelease(ctx, seen, "")
			}
			if err != nil {
				t.Error(err)
				return nil
			}
			<-ctx.Done()
			return nil
		})
	}()
	select {
	case <-done:
	case <-time.After(harness.Patience):
		panic("it waits for a mutex that is held") // and so would the clean-up
	}
}

// BenchmarkTelemetry_Refusal is a call that is refused within the process, so that reporting it is most of it: without providers,
// and with some that drop everything.
func BenchmarkTelemetry_Refusal(b *testing.B) {
	for _, tt := range []struct {
		name string
		cfg  cluster.Config
	}{
		{"none", cluster.Config{}},
		{"metrics and traces, dropped", cluster.Config{
			MeterProvider: metricnoop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider(),
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			k := locker(b, open(b, harness.Embedded(b, 3), tt.cfg), Config{})
			try := refused(b, k)
			b.ReportAllocs()
			for b.Loop() {
				try()
			}
		})
	}
}
