package main

import (
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// Numbers of nodes that are made for trying things out are not taken for those
// of servers.
func TestBench_SaysThatNodesAreEmbedded(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	p := launch(t, s.URLs(), "bench", "--duration", "400ms", "-c", "1")
	p.exit(0)
	p.prints(`These are embedded nodes, .* say nothing about real servers`)
	p = launch(t, s.URLs(), "bench", "--duration", "400ms", "-c", "1", "-o", "json")
	p.exit(0)
	for _, d := range decode[[]benchDoc](t, p) {
		if !d.Embedded {
			t.Errorf("not said to be on embedded nodes: %+v", d)
		}
	}
}

func TestBench_BarsShowHowSamplesAreSpread(t *testing.T) {
	samples := []time.Duration{1, 1, 1, 1, 10, 10, 100}
	if got := bars(samples, 1, 100, 4); got != "█ ▄▂" {
		t.Errorf("got %q", got)
	}
}
