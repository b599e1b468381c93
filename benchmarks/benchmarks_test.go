//go:build unix

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestJudgeFindsOverlapsAndTokensThatDoNotGrow(t *testing.T) {
	for name, c := range map[string]struct {
		holds []hold
		want  int
	}{
		"in order":         {[]hold{{From: 5, To: 6, Token: 2}, {From: 1, To: 2, Token: 1}}, 0},
		"without tokens":   {[]hold{{From: 1, To: 2}, {From: 2, To: 3}}, 0},
		"two at a time":    {[]hold{{From: 1, To: 3, Token: 1}, {From: 2, To: 4, Token: 2}}, 1},
		"an older token":   {[]hold{{From: 1, To: 2, Token: 2}, {From: 3, To: 4, Token: 1}}, 1},
		"the same token":   {[]hold{{From: 1, To: 2, Token: 2}, {From: 3, To: 4, Token: 2}}, 1},
		"both, repeatedly": {[]hold{{From: 1, To: 9, Token: 9}, {From: 2, To: 9, Token: 8}, {From: 3, To: 4, Token: 7}}, 4},
	} {
		if got := judge(c.holds); len(got) != c.want {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
}

func TestFiguresOfASample(t *testing.T) {
	s := sample{Elapsed: 2 * time.Second, PerWorker: []int{30, 70}, CPU: time.Second, Mallocs: 500, Failed: 1}
	for i := range 100 {
		s.Latencies = append(s.Latencies, time.Duration(100-i)*time.Millisecond)
	}
	got, err := s.figures()
	want := figures{
		Rate: 50, P50: 51 * time.Millisecond, P99: 100 * time.Millisecond, Max: 100 * time.Millisecond,
		Mean: 50500 * time.Microsecond, CPU: 10 * time.Millisecond, Allocs: 5, LeastServed: 0.6, Failed: 1,
	}
	if err != nil || got != want {
		t.Errorf("figures = %+v, %v\nwant      %+v", got, err, want)
	}
	if _, err := new(sample).figures(); err == nil {
		t.Error("figures of nothing")
	}
	if m := middle([]figures{{Rate: 3, Failed: 1}, {Rate: 1, Failed: 1}, {Rate: 2}}); m.Rate != 2 || m.Failed != 2 {
		t.Errorf("middle = %+v", m)
	}
}

// Every workload, for a moment, by this module alone: it keeps its orders, and nothing fails.
func TestTheWorkloadsRun(t *testing.T) {
	if _, err := redisserver.Available(); err != nil {
		t.Skip(err)
	}
	b, end, err := start(200 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for _, w := range workloads {
		w.names = slices.DeleteFunc(slices.Clone(w.names), func(name string) bool { return name != ours && name != raw })
		rows, broken := b.measure(w, 1)
		for _, text := range broken {
			t.Error(text)
		}
		for _, r := range rows {
			if r.err != nil || r.Rate <= 0 {
				t.Errorf("%s: %s: %.0f/s, %v", w.name, r.name, r.Rate, r.err)
			}
		}
	}
}
