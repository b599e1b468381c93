package tests

import (
	"context"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

// BenchmarkObservability_WithLock is one caller that locks and unlocks on five redis-server: with nothing reported, with metrics, and
// with spans as well, each sampled.
func BenchmarkObservability_WithLock(b *testing.B) {
	nodes := harness.Real(b, 5, redisserver.Options{})
	quiet := slog.New(slog.DiscardHandler)
	meters := metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
	for _, tt := range []struct {
		name string
		cfg  cluster.Config
	}{
		{"nothing", cluster.Config{}},
		{"metrics", cluster.Config{MeterProvider: meters}},
		{"metrics and traces", cluster.Config{MeterProvider: meters, TracerProvider: trace.NewTracerProvider()}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			tt.cfg.URLs, tt.cfg.Logger = nodes.URLs(), quiet
			c, err := cluster.Open(b.Context(), tt.cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close(context.Background())
			k, err := lock.New(c, lock.Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer k.Close(context.Background())
			b.ReportAllocs()
			for b.Loop() {
				if err := k.WithLock(b.Context(), "k", func(context.Context) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
