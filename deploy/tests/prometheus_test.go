package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// Prometheus takes its configuration, the rules at the path where compose.yaml
// mounts them, and the list of programs.
func TestPrometheus_ConfigurationIsValid(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if promtool, err = filepath.Abs("../../bin/promtool"); err == nil {
			_, err = os.Stat(promtool)
		}
	}
	if err != nil {
		t.Skip("promtool is not installed: apt-get install prometheus, or scripts/setup.sh as its comment says")
	}
	p, deploy := composed(t)
	s, err := p.GetService("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(deploy, "prometheus", "prometheus.yml")
	changed := harness.ReadFile(t, file)
	for _, v := range s.Volumes {
		changed = strings.ReplaceAll(changed, v.Target+"/", v.Source+"/")
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), promtool, "check", "config", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "1 rule files found") {
		t.Errorf("promtool check config: %v\n%s", err, out)
	}
}

// Grafana finds the dashboard in the folder that compose.yaml mounts, and its
// data source in Prometheus.
func TestGrafana_FindsTheDashboardAndItsData(t *testing.T) {
	p, _ := composed(t)
	s, err := p.GetService("grafana")
	if err != nil {
		t.Fatal(err)
	}
	mounted := map[string]string{}
	for _, v := range s.Volumes {
		mounted[v.Target] = v.Source
	}
	var boards struct {
		Providers []struct {
			Options struct{ Path string }
		}
	}
	decode(t, read(t, "grafana", "dashboards", "redlock.yaml"), &boards)
	if len(boards.Providers) != 1 {
		t.Fatalf("%d providers", len(boards.Providers))
	}
	text := harness.ReadFile(t, filepath.Join(mounted[boards.Providers[0].Options.Path], "redlock.json"))
	var board struct{ UID string }
	if err := json.Unmarshal([]byte(text), &board); err != nil || board.UID == "" {
		t.Errorf("the dashboard: %v", err)
	}
	var sources struct {
		Datasources []struct{ Type, URL string }
	}
	decode(t, read(t, "grafana", "datasources", "prometheus.yaml"), &sources)
	if len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" || sources.Datasources[0].URL != "http://prometheus:9090" {
		t.Errorf("data sources: %+v", sources.Datasources)
	}
	if mounted["/etc/grafana/provisioning"] == "" {
		t.Error("Grafana is provisioned by nothing")
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}
