package telemetry

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of this library for the providers.
const scope = "github.com/venta-hq/redlock"

// The attributes.
const (
	errorType      = attribute.Key("error.type") // from the semantic conventions
	keyAttr        = attribute.Key("redlock.key")
	keysAttr       = attribute.Key("redlock.keys")
	jobAttr        = attribute.Key("redlock.job")
	electionAttr   = attribute.Key("redlock.election")
	endAttr        = attribute.Key("redlock.end")
	reasonAttr     = attribute.Key("redlock.reason")
	verdictAttr    = attribute.Key("redlock.verdict")
	tokenAttr      = attribute.Key("redlock.token")
	waitAttr       = attribute.Key("redlock.wait")
	holdAttr       = attribute.Key("redlock.hold")
	ModeAttr       = "redlock.mode"
	NodeAttr       = "redlock.node.name"
	NodesAttr      = "redlock.node.names"
	CachePrefix    = "redlock.cache.prefix"
	SessionsPrefix = "redlock.session.prefix"
)

// Telemetry receives reports. All methods may be called concurrently, and on
// nil.
type Telemetry struct {
	key     func(string) string
	tracer  trace.Tracer
	metrics bool

	hist     map[string]metric.Float64Histogram
	counts   map[string]metric.Int64Counter
	watch    map[string]metric.Float64Observable
	watching metric.Registration

	mu      sync.Mutex
	sources map[*source]struct{}
	past    map[point]float64 // final values of the counters of ended sources
	jobs    map[attribute.Distinct]float64
	leading map[attribute.Distinct]elections
	sets    map[attribute.Distinct]attribute.Set
}

// source is a source of watched metrics.
type source struct {
	attrs attribute.Set
	read  func(see See)
}

// See receives the value of one of the watched metrics.
type See func(name string, value float64)

// point is one time series.
type point struct {
	name  string
	attrs attribute.Distinct
}

// New returns a Telemetry, or nil if there is neither provider. If key is not nil, its result for the key of a lock
// becomes an attribute, unless it is "".
func New(meters metric.MeterProvider, tracers trace.TracerProvider, key func(string) string) (*Telemetry, error) {
	if meters == nil && tracers == nil {
		return nil, nil
	}
	t := &Telemetry{
		key: key, sources: map[*source]struct{}{}, past: map[point]float64{}, sets: map[attribute.Distinct]attribute.Set{},
		jobs: map[attribute.Distinct]float64{}, leading: map[attribute.Distinct]elections{},
	}
	if tracers != nil {
		t.tracer = tracers.Tracer(scope)
	}
	if meters == nil {
		return t, nil
	}
	return t, t.measure(meters.Meter(scope))
}

// measure creates the instruments.
func (t *Telemetry) measure(m metric.Meter) error {
	t.metrics = true
	t.hist, t.counts = map[string]metric.Float64Histogram{}, map[string]metric.Int64Counter{}
	t.watch = map[string]metric.Float64Observable{}
	var errs []error
	var all []metric.Observable
	for _, d := range Metrics {
		unit, help := metric.WithUnit(d.Unit), metric.WithDescription(d.Help)
		var err error
		switch {
		case d.Kind == Histogram:
			t.hist[d.Name], err = m.Float64Histogram(d.Name, unit, help, metric.WithExplicitBucketBoundaries(buckets[d.Name]...))
		case !watched(d.Name):
			t.counts[d.Name], err = m.Int64Counter(d.Name, unit, help)
		case d.Kind == Counter:
			t.watch[d.Name], err = m.Float64ObservableCounter(d.Name, unit, help)
		case d.Kind == Sum:
			t.watch[d.Name], err = m.Float64ObservableUpDownCounter(d.Name, unit, help)
		default:
			t.watch[d.Name], err = m.Float64ObservableGauge(d.Name, unit, help)
		}
		errs = append(errs, err)
		if o := t.watch[d.Name]; o != nil {
			all = append(all, o)
		}
	}
	var err error
	t.watching, err = m.RegisterCallback(t.collect, all...)
	return errors.Join(append(errs, err)...)
}

// Close ends the watching of all sources.
func (t *Telemetry) Close() {
	if t != nil && t.watching != nil {
		t.watching.Unregister()
	}
}

// Watch calls read whenever the metrics are collected, until stop is called;
// counters then keep their last value. attr and value are the attribute that
// distinguishes these series; "" for none. read must not block.
func (t *Telemetry) Watch(attr, value string, read func(see See)) (stop func()) {
	if t == nil || !t.metrics {
		return func() {}
	}
	s := &source{read: read}
	if attr != "" {
		s.attrs = attribute.NewSet(attribute.String(attr, value))
	} else {
		s.attrs = *attribute.EmptySet()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sources[s] = struct{}{}
	t.sets[s.attrs.Equivalent()] = s.attrs
	return sync.OnceFunc(func() { t.end(s) })
}

func (t *Telemetry) end(s *source) {
	last := map[string]float64{}
	s.read(func(name string, v float64) { last[name] = v })
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sources, s)
	for name, v := range last {
		if kindOf[name] == Counter {
			t.past[point{name, s.attrs.Equivalent()}] += v
		}
	}
}

var kindOf = func() map[string]Kind {
	all := map[string]Kind{}
	for _, d := range Metrics {
		all[d.Name] = d.Kind
	}
	return all
}()

// collect sums the values of the sources, of which several may report one series.
func (t *Telemetry) collect(_ context.Context, o metric.Observer) error {
	t.mu.Lock()
	sources := make([]*source, 0, len(t.sources))
	for s := range t.sources {
		sources = append(sources, s)
	}
	totals, sets := maps.Clone(t.past), maps.Clone(t.sets)
	for attrs, at := range t.jobs {
		totals[point{jobSuccess, attrs}] = at
	}
	for attrs, e := range t.leading {
		totals[point{electionLeading, attrs}] = float64(e.led)
	}
	t.mu.Unlock()
	for _, s := range sources {
		same := s.attrs.Equivalent()
		s.read(func(name string, v float64) {
			p := point{name, same}
			switch kindOf[name] {
			case Gauge:
				totals[p] = v
			case Largest:
				totals[p] = max(totals[p], v)
			default:
				totals[p] += v
			}
		})
	}
	for p, v := range totals {
		o.ObserveFloat64(t.watch[p.name], v, metric.WithAttributeSet(sets[p.attrs]))
	}
	return nil
}

// Now returns the start time of an operation whose duration is reported, or the zero time if nothing is reported.
func (t *Telemetry) Now() time.Time {
	if t == nil {
		return time.Time{}
	}
	return time.Now()
}

func since(began time.Time) float64 { return time.Since(began).Seconds() }

// label returns the attribute to which the program maps a key.
func (t *Telemetry) label(key string) (attribute.KeyValue, bool) {
	if t.key == nil {
		return attribute.KeyValue{}, false
	}
	name := t.key(key)
	return keyAttr.String(name), name != ""
}

// labels are the attributes of a measurement besides the key. They have few values.
type labels struct {
	mode  string        // ModeAttr; "": none
	attr  attribute.Key // one more
	value string        // of attr; "": attr is omitted
}

// with returns the option for attributes.
func (t *Telemetry) with(key string, l labels) metric.MeasurementOption {
	kv, keyed := t.label(key)
	if !keyed {
		return plain(l)
	}
	return metric.WithAttributeSet(l.set(kv))
}

// set is the set of l and of key, unless that is the zero value.
func (l labels) set(key attribute.KeyValue) attribute.Set {
	all := make([]attribute.KeyValue, 0, 3)
	if key.Valid() {
		all = append(all, key)
	}
	if l.mode != "" {
		all = append(all, attribute.String(ModeAttr, l.mode))
	}
	if l.value != "" {
		all = append(all, l.attr.String(l.value))
	}
	return attribute.NewSet(all...)
}

// plains keeps the options of what was reported without a key. It is replaced by a
// copy to add to it, so that finding one allocates nothing.
var plains atomic.Pointer[map[labels]metric.MeasurementOption]

func plain(l labels) metric.MeasurementOption {
	for {
		all := plains.Load()
		if all == nil {
			all = &map[labels]metric.MeasurementOption{}
			plains.CompareAndSwap(nil, all)
			continue
		}
		if o, ok := (*all)[l]; ok {
			return o
		}
		more := maps.Clone(*all)
		more[l] = metric.WithAttributeSet(l.set(attribute.KeyValue{}))
		plains.CompareAndSwap(all, &more)
	}
}

// Waited reports a request for a lock in a mode. refusal is the class of the error,
// "" if it was acquired.
func (t *Telemetry) Waited(ctx context.Context, key, mode string, began time.Time, refusal string) {
	if t == nil || !t.metrics {
		return
	}
	o := t.with(key, labels{mode, errorType, refusal})
	t.hist[lockWait].Record(ctx, since(began), o)
	if refusal != "" {
		t.counts[lockRefusals].Add(ctx, 1, o)
	}
}

// Attempted reports one attempt to acquire a lock in a mode.
func (t *Telemetry) Attempted(ctx context.Context, key, mode string, began time.Time, refusal string) {
	if t != nil && t.metrics {
		t.hist[lockAttempt].Record(ctx, since(began), t.with(key, labels{mode, errorType, refusal}))
	}
}

// Granted reports how many other processes waited for a lock when this one acquired it.
func (t *Telemetry) Granted(key string, waiters int) {
	if t != nil && t.metrics {
		t.hist[lockWaiters].Record(context.Background(), float64(waiters), t.with(key, labels{}))
	}
}

// Held reports how long a lock was held in a mode, and how the hold ended.
func (t *Telemetry) Held(key, mode string, began time.Time, end string) {
	if t != nil && t.metrics {
		t.hist[lockHold].Record(context.Background(), since(began), t.with(key, labels{mode, endAttr, end}))
	}
}

// Lost reports that a lock was lost that was held in a mode.
func (t *Telemetry) Lost(key, mode, reason string) {
	if t != nil && t.metrics {
		t.counts[lockLosses].Add(context.Background(), 1, t.with(key, labels{mode, reasonAttr, reason}))
	}
}

// Renewed reports the result of a renewal, and the share of the TTL that was left.
func (t *Telemetry) Renewed(key string, left, ttl time.Duration, verdict string) {
	if t != nil && t.metrics {
		t.hist[lockRenewalLeft].Record(context.Background(), max(0, float64(left)/float64(ttl)), t.with(key, labels{attr: verdictAttr, value: verdict}))
	}
}
