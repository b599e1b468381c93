package tests

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v2"

	"github.com/venta-hq/redlock/internal/telemetry"
	"github.com/venta-hq/redlock/internal/test/harness"
)

const (
	page      = "../observability.md"
	dashboard = "../dashboard/redlock.json"
	rules     = "../alerts/redlock.rules.yml"
)

// scrapes is what the scenarios gave to Prometheus.
type scrapes struct {
	mu    sync.Mutex
	text  map[string]string // by scenario
	shown map[string]bool   // metrics that a scenario provoked, by their names in Prometheus
}

func (s *scrapes) seen(series string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown[strings.FieldsFunc(series, func(c rune) bool { return c == '{' || c == ':' })[0]] = true
}

func (s *scrapes) keep(scenario, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text[scenario] = text
}

// labels is the labels that a metric was seen with.
func (s *scrapes) labels(metric string) map[string]bool {
	all := map[string]bool{}
	line := regexp.MustCompile(`(?m)^` + metric + `(?:_count)?\{(.*)\} `)
	label := regexp.MustCompile(`(\w+)="`)
	for _, text := range s.text {
		for _, m := range line.FindAllStringSubmatch(text, -1) {
			for _, l := range label.FindAllStringSubmatch(m[1], -1) {
				if !strings.HasPrefix(l[1], "otel_scope") {
					all[l[1]] = true
				}
			}
		}
	}
	return all
}

// names are all names of series in the scrapes.
func (s *scrapes) names() map[string]bool {
	all := map[string]bool{}
	for _, text := range s.text {
		for line := range strings.Lines(text) {
			all[strings.FieldsFunc(line, func(c rune) bool { return c == '{' || c == ' ' })[0]] = true
		}
	}
	return all
}

// inPrometheus is the name of a metric there.
func inPrometheus(m telemetry.Metric) string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	if m.Unit == "s" {
		name += "_seconds"
	}
	if m.Kind == telemetry.Counter {
		name += "_total"
	}
	return name
}

func TestObservability_EveryMetricIsProvokedAndListed(t *testing.T) {
	s := &scrapes{text: map[string]string{}, shown: map[string]bool{}}
	t.Run("scenarios", func(t *testing.T) {
		for name, run := range scenarios {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, s)
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Run("every metric is provoked", func(t *testing.T) {
		for _, m := range telemetry.Metrics {
			if !s.shown[inPrometheus(m)] {
				t.Errorf("%s: no scenario waits for %s", m.Name, inPrometheus(m))
			}
		}
	})
	t.Run("the table", func(t *testing.T) { checkTable(t, s) })
	t.Run("what the dashboard and the alerts ask for", func(t *testing.T) {
		names := s.names()
		for file, exprs := range map[string][]string{dashboard: panelQueries(t), rules: ruleQueries(t)} {
			if len(exprs) == 0 {
				t.Errorf("%s asks for nothing", file)
			}
			for _, e := range exprs {
				for _, name := range metricsOf(e) {
					if !names[name] {
						t.Errorf("%s: %s is in no scrape, in %s", file, name, e)
					}
				}
			}
		}
	})
	t.Run("promtool", checkRules)
	t.Run("prometheus", func(t *testing.T) { checkScrape(t, s) })
}

// checkTable holds the table of the page to the metrics there are, and to the labels they were seen with.
func checkTable(t *testing.T, s *scrapes) {
	rows := map[string]string{}
	var order []string
	for line := range strings.Lines(harness.ReadFile(t, page)) {
		if m := regexp.MustCompile("^\\| `(redlock[^`]*)` \\| `redlock_").FindStringSubmatch(line); m != nil {
			rows[m[1]], order = strings.TrimSpace(line), append(order, m[1])
		}
	}
	var want []string
	for _, m := range telemetry.Metrics {
		want = append(want, m.Name)
		labels := s.labels(inPrometheus(m))
		row, ok := rows[m.Name]
		begins := fmt.Sprintf("| `%s` | `%s` | %s | `%s` | ", m.Name, inPrometheus(m), m.Kind, m.Unit)
		if !ok || !strings.HasPrefix(row, begins) || !strings.HasSuffix(row, " | "+m.Help+" |") {
			t.Errorf("the row of %s is\n%s\nwant\n%s… | %s |", m.Name, row, begins, m.Help)
		}
		for label := range labels {
			if attr := attributes[label]; attr == "" || !strings.Contains(row, "`"+attr+"`") {
				t.Errorf("the row of %s does not speak of %s, which it was seen with: %s", m.Name, label, row)
			}
		}
	}
	if !slices.Equal(order, want) {
		t.Errorf("the table has, in this order,\n%s\nwant\n%s", strings.Join(order, "\n"), strings.Join(want, "\n"))
	}
}

// attributes are those there are, by the names that Prometheus gives them.
var attributes = map[string]string{
	"error_type": "error.type", "redlock_mode": "redlock.mode", "redlock_end": "redlock.end", "redlock_reason": "redlock.reason", "redlock_verdict": "redlock.verdict",
	"redlock_key": "redlock.key", "redlock_job": "redlock.job", "redlock_election": "redlock.election",
	"redlock_node_name": "redlock.node.name", "redlock_node_names": "redlock.node.names",
	"redlock_cache_prefix": "redlock.cache.prefix", "redlock_session_prefix": "redlock.session.prefix",
}

// metricsOf is the series that a query asks for.
func metricsOf(query string) []string {
	return regexp.MustCompile(`\bredlock_\w+`).FindAllString(regexp.MustCompile(`\{[^}]*\}|\b(by|on|without) ?\([^)]*\)`).ReplaceAllString(query, ""), -1)
}

// panelQueries are the queries of the dashboard.
func panelQueries(t *testing.T) []string {
	t.Helper()
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
			GridPos struct{ H, W, X, Y int }
		}
	}
	if err := json.Unmarshal([]byte(harness.ReadFile(t, dashboard)), &d); err != nil {
		t.Fatal(err)
	}
	titles := map[string]bool{}
	var exprs []string
	for _, p := range d.Panels {
		if p.Title == "" || titles[p.Title] || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("the panel %q has no title of its own, or no place", p.Title)
		}
		titles[p.Title] = true
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	return exprs
}

type alert struct {
	Alert, Expr string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var f struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal([]byte(harness.ReadFile(t, rules)), &f); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, g := range f.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// ruleQueries are the queries of the alerts.
func ruleQueries(t *testing.T) []string {
	t.Helper()
	var exprs []string
	names := map[string]bool{}
	for _, a := range alerts(t) {
		if a.Alert == "" || names[a.Alert] || a.Labels["severity"] == "" || a.Annotations["summary"] == "" || a.Annotations["action"] == "" {
			t.Errorf("the alert %q lacks a name of its own, a severity, a summary or what to do", a.Alert)
		}
		names[a.Alert] = true
		exprs = append(exprs, a.Expr)
	}
	return exprs
}
