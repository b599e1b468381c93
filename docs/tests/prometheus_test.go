package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// program finds a program of Prometheus: where programs are, or where scripts/setup.sh unpacks it. Without it the test is
// skipped.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := filepath.Abs(filepath.Join("../../bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Skipf("%s is not installed: apt-get install prometheus, or scripts/setup.sh as its comment says", name)
	}
	return path
}

func checkRules(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program(t, "promtool"), "check", "rules", rules).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("%d rules found", len(alerts(t)))) {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}

// checkScrape has a real Prometheus scrape what the scenarios gave, load the rules, and answer every query of the dashboard.
func checkScrape(t *testing.T, s *scrapes) {
	prometheus := program(t, "prometheus")
	exposed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, s.text[strings.TrimPrefix(r.URL.Path, "/")])
	}))
	defer exposed.Close()
	defer http.DefaultClient.CloseIdleConnections()
	base := startPrometheus(t, prometheus, strings.TrimPrefix(exposed.URL, "http://"), s)

	var loaded struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	ask(t, base+"/api/v1/rules", &loaded)
	n := 0
	for _, g := range loaded.Groups {
		n += len(g.Rules)
	}
	if n != len(alerts(t)) {
		t.Errorf("it loaded %d rules of %d", n, len(alerts(t)))
	}

	var up struct{ Result []json.RawMessage }
	harness.Eventually(t, "all scenarios to be scraped twice, which rates need", func() bool {
		query(t, base, "count_over_time(up[1m]) >= 2 and up == 1", &up)
		return len(up.Result) == len(s.text)
	})
	for _, expr := range append(panelQueries(t), ruleQueries(t)...) {
		for _, name := range metricsOf(expr) {
			var found struct{ Result []json.RawMessage }
			query(t, base, name, &found)
			if len(found.Result) == 0 {
				t.Errorf("%s was not scraped, for %s", name, expr)
			}
		}
		checkSplit(t, base, expr)
	}
}

// finalComparison is what makes an alert of a value.
var finalComparison = regexp.MustCompile(` (==|!=|<=?|>=?) [0-9.* ]+$`)

// checkSplit asks a query, whose answer may be split only by the labels that it
// names: an attribute that a metric gets must not make several alerts of one. What is
// scraped does not change, so that most comparisons are false and would leave nothing
// to look at: the last one is left out.
func checkSplit(t *testing.T, base, expr string) {
	t.Helper()
	named := map[string]bool{}
	for _, by := range regexp.MustCompile(`\bby ?\(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(by[1], ",") {
			named[strings.TrimSpace(label)] = true
		}
	}
	var found struct {
		Result []struct{ Metric map[string]string }
	}
	query(t, base, finalComparison.ReplaceAllString(strings.ReplaceAll(expr, "$__rate_interval", "1m"), ""), &found)
	if len(found.Result) == 0 {
		t.Errorf("%s gives nothing, even without its comparison", expr)
	}
	for _, r := range found.Result {
		for label := range r.Metric {
			if !named[label] {
				t.Errorf("%s is split by %s", expr, label)
			}
		}
	}
}

// startPrometheus returns the address of a Prometheus that scrapes every scenario.
func startPrometheus(t *testing.T, path, target string, s *scrapes) string {
	t.Helper()
	dir := t.TempDir()
	var cfg strings.Builder
	rulesPath, err := filepath.Abs(rules)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&cfg, "global: {scrape_interval: 200ms, evaluation_interval: 200ms}\nrule_files: [%q]\nscrape_configs:\n", rulesPath)
	for name := range s.text {
		fmt.Fprintf(&cfg, "- {job_name: %s, metrics_path: /%s, static_configs: [{targets: [%q]}]}\n", name, name, target)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(cfg.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var log strings.Builder
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	base := "http://" + addr
	harness.Eventually(t, "Prometheus to be ready", func() bool {
		select {
		case <-ended:
			t.Fatal("it ended: ", log.String())
		default:
		}
		res, err := http.Get(base + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return base
}

func query(t *testing.T, base, expr string, into any) {
	t.Helper()
	ask(t, base+"/api/v1/query?query="+url.QueryEscape(expr), into)
}

func ask(t *testing.T, url string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: into}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v %s", url, err, answer.Error)
	}
}
