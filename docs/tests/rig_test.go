package tests

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

func TestMain(m *testing.M) {
	redis.SetLogger(&logging.VoidLogger{}) // nodes are stopped all the time here
	harness.Main(m)
}

// rig is embedded nodes, and a program whose metrics and spans can be read.
type rig struct {
	*testing.T
	nodes    harness.Set
	registry *prometheus.Registry
	meters   *metric.MeterProvider
	key      func(string) string
	scrapes  *scrapes
	began    time.Time
}

func newRig(t *testing.T, s *scrapes, nodes int) *rig {
	t.Helper()
	r := &rig{T: t, nodes: harness.Embedded(t, nodes), registry: prometheus.NewRegistry(), scrapes: s, began: time.Now()}
	reader, err := exporter.New(exporter.WithRegisterer(r.registry))
	if err != nil {
		t.Fatal(err)
	}
	r.meters = metric.NewMeterProvider(metric.WithReader(reader))
	return r
}

// open is a process of its own, with what it reports in the rig's registry if reported is true.
func (r *rig) open(reported bool, timeout time.Duration) *cluster.Cluster {
	r.Helper()
	cfg := cluster.Config{URLs: r.nodes.URLs(), NodeTimeout: timeout, Logger: slog.New(slog.DiscardHandler)}
	if reported {
		cfg.MeterProvider, cfg.KeyAttribute = r.meters, r.key
	}
	c, err := cluster.Open(r.Context(), cfg)
	r.must(err)
	harness.CloseAtEnd(r.T, c)
	return c
}

func (r *rig) locker(c *cluster.Cluster, ttl time.Duration) *lock.Locker {
	r.Helper()
	k, err := lock.New(c, lock.Config{TTL: ttl})
	r.must(err)
	harness.CloseAtEnd(r.T, k)
	return k
}

func (r *rig) must(err error) {
	r.Helper()
	harness.Must(r.T, r.began, err)
}

// has waits until a series is above a value, or is it if exact. A series is as in "redlock_node_up{redlock_node_name=a}";
// labels that are not named may have any value. Of a histogram the count is taken, of "name:sum" the sum.
func (r *rig) has(series string, want float64, exact ...bool) {
	r.Helper()
	began, over := time.Now(), time.After(harness.Patience)
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for {
		got, found := r.value(series)
		if found && (got >= want && len(exact) == 0 || got == want) {
			r.scrapes.seen(series)
			return
		}
		select {
		case <-look.C:
		case <-over:
			harness.Missed(r.T, began, "%s is %v (there: %v), want %v; there is\n%s", series, got, found, want, r.text(strings.FieldsFunc(series, func(c rune) bool { return c == '{' || c == ':' })[0]))
		}
	}
}

func (r *rig) value(series string) (sum float64, found bool) {
	r.Helper()
	name, rest, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	name, part, _ := strings.Cut(name, ":")
	all, err := r.registry.Gather()
	r.must(err)
	for _, family := range all {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.Metric {
			if !matches(m, rest) {
				continue
			}
			found = true
			switch h := m.GetHistogram(); {
			case h != nil && part == "sum":
				sum += h.GetSampleSum()
			case h != nil:
				sum += float64(h.GetSampleCount())
			default:
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum, found
}

func matches(m *dto.Metric, wanted string) bool {
	if wanted == "" {
		return true
	}
	for pair := range strings.SplitSeq(wanted, ",") {
		name, value, _ := strings.Cut(pair, "=")
		ok := value == "" // an absent label is an empty one
		for _, l := range m.Label {
			if l.GetName() == name {
				ok = l.GetValue() == value
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// text is what a scrape gives, of names that begin like this.
func (r *rig) text(prefix string) string {
	r.Helper()
	all, err := r.registry.Gather()
	r.must(err)
	var b bytes.Buffer
	for _, family := range all {
		if strings.HasPrefix(family.GetName(), prefix) {
			expfmt.MetricFamilyToText(&b, family)
		}
	}
	return b.String()
}

func (r *rig) client(i int) *redis.Client { return harness.Client(r.T, r.nodes, i) }

// of is a series of node i.
func (r *rig) of(c *cluster.Cluster, metric string, i int, more ...string) string {
	labels := append([]string{"redlock_node_name=" + c.Status()[i].Node}, more...)
	return metric + "{" + strings.Join(labels, ",") + "}"
}

// scrape keeps what Prometheus is to be given.
func (r *rig) scrape() {
	r.Helper()
	name := r.Name()
	r.scrapes.keep(name[strings.LastIndexByte(name, '/')+1:], r.text("redlock_"))
}
