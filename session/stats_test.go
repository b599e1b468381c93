package session

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/telemetry"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestStore_Stats_CountsEachCall(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := locking(t, nodes, Config{})
	settled(t, s) // so that no node is asked for the first time below
	ctx := t.Context()
	before := s.Stats()
	a, b := create(t, s, "u", nil), create(t, s, "u", nil)
	load(t, s, a.ID())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Update(ctx, a.ID(), func(_ context.Context, ss *Session) error { return ss.Set("n", 1) }))
	must(a.Renew(ctx))
	must(s.Destroy(ctx, b.ID()))
	if _, err := s.Load(ctx, b.ID()); !isGone(err) {
		t.Fatal(err)
	}
	must(s.LogoutAll(ctx, "u", a))
	must(s.LogoutAll(ctx, "u", nil))
	if _, err := s.Create(ctx, "u", nil, Lifetime(-1)); err == nil {
		t.Fatal("created with a deadline that has passed")
	}
	dead, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Load(dead, a.ID()); err == nil {
		t.Fatal("loaded under a context that had ended")
	}
	want := before
	want.Created += 2
	want.Loaded += 2
	want.Committed++
	want.Renewed += 2
	want.Destroyed++
	want.Logouts += 2
	want.Gone++
	want.Failures++
	if got := s.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A closed Store still serves calls, but no longer reports them.
func TestStore_Close_EndsItsMetrics(t *testing.T) {
	t.Parallel()
	m := &meters{}
	s, err := New(open(t, harness.Embedded(t, 1), cluster.Config{MeterProvider: m}), Config{})
	must(t, err)
	before := m.sum(t)
	create(t, s, "ann", nil)
	if got := m.sum(t); got != before+1 {
		t.Errorf("it reports %v after one session was created, from %v on", got, before)
	}
	s.Close()
	s.Close()
	create(t, s, "ann", nil)
	if got := m.sum(t); got != before+1 {
		t.Errorf("a closed Store still reports: %v, was %v", got, before)
	}
}

// meters sums the reported counts of sessions.
type meters struct {
	noop.MeterProvider
	collect metric.Callback
}

func (m *meters) Meter(string, ...metric.MeterOption) metric.Meter { return meter{m: m} }

type meter struct {
	noop.Meter
	m *meters
}

func (m meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.m.collect = f
	return noop.Registration{}, nil
}

func (m *meters) sum(t *testing.T) float64 {
	t.Helper()
	o := &observer{}
	must(t, m.collect(t.Context(), o))
	return o.total
}

type observer struct {
	noop.Observer
	total float64
}

func (o *observer) ObserveFloat64(_ metric.Float64Observable, v float64, opts ...metric.ObserveOption) {
	set := metric.NewObserveConfig(opts).Attributes()
	if set.HasValue(telemetry.SessionsPrefix) {
		o.total += v
	}
}
