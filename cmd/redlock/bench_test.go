package main

import (
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// The results of embedded nodes, which are for experiments, are marked as such.
func TestBench_SaysThatNodesAreEmbedded(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	p := launch(t, s.URLs(), "bench", "--duration", "400ms", "-c", "1")
	p.exit(0)
	p.prints(`These are embedded nodes, .* say nothing about real servers`)
	p = launch(t, s.URLs(), "bench", "--duration", "400ms", "-c", "1", "-o", "json")
	p.exit(0)
	for _, d := range decode[[]benchDoc](t, p) {
		if !d.Embedded || d.Servers >= 0 {
			t.Errorf("not marked as embedded, or with a CPU time that they share with this program: %+v", d)
		}
	}
}

func TestBench_ReportsTheServersCPU(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	p := launch(t, s.URLs(), "bench", "--duration", "800ms", "-c", "8", "-o", "json")
	p.exit(0)
	for _, d := range decode[[]benchDoc](t, p) {
		if d.Rate > 0 && (d.Servers < 1 || d.Client < 1) {
			t.Errorf("%+v", d)
		}
	}
}

func TestBench_ServerCPUIsReadFromINFO(t *testing.T) {
	for info, want := range map[string]time.Duration{
		"# CPU\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.25\r\nused_cpu_sys_children:9\r\n": 3750 * time.Millisecond,
		"used_cpu_sys:0.0\nused_cpu_user:0.0\n":                                          0,
		"used_cpu_sys:1\n":                                                               -1,
		"used_cpu_sys:-1\nused_cpu_user:2\n":                                             -1,
		"used_cpu_sys:1e300\nused_cpu_user:NaN\n":                                        -1,
		"": -1,
	} {
		got, ok := serverCPU(info)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, want %v", info, got, want)
		}
	}
	sum := cpuTime{}
	sum.add(cpuTime{1, 1}, cpuTime{3, 2})
	sum.add(cpuTime{3, 2}, cpuTime{-1, 4})
	sum.add(cpuTime{5, 4}, cpuTime{6, 5})
	if (sum != cpuTime{-1, 4}) {
		t.Errorf("with one unknown reading: %+v", sum)
	}
}

func TestBench_BarsShowHowSamplesAreSpread(t *testing.T) {
	samples := []time.Duration{1, 1, 1, 1, 10, 10, 100}
	if got := bars(samples, 1, 100, 4); got != "█ ▄▂" {
		t.Errorf("got %q", got)
	}
}
