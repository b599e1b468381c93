//go:build unix

package main

import (
	"math"
	"slices"
	"time"
)

// metric is a figure by which two revisions are compared.
type metric struct {
	name   string
	of     func(figures) float64
	show   func(float64) string
	isRate bool
	more   string // the verdict on a new revision with more of it
	less   string // the verdict on a new revision with less of it
}

var metrics = []metric{
	{name: "ops/s", of: func(f figures) float64 { return f.Rate }, show: number, isRate: true, more: "faster", less: slower},
	{name: "client CPU/op", of: func(f figures) float64 { return f.CPU }, show: cost, more: costlier, less: "cheaper"},
	{name: "server CPU/op", of: func(f figures) float64 { return f.ServerCPU }, show: cost, more: costlier, less: "cheaper"},
	{name: "memory/lease", of: func(f figures) float64 { return f.Memory }, show: size, more: costlier, less: "cheaper"},
	{name: "p50", of: func(f figures) float64 { return float64(f.P50) }, show: nanoseconds, more: slower, less: "faster"},
	{name: "p99", of: func(f figures) float64 { return float64(f.P99) }, show: nanoseconds, more: slower, less: "faster"},
}

// The verdicts.
const (
	same     = "same"
	slower   = "slower"
	costlier = "costlier"
)

// rule says in one line how a verdict comes about.
const rule = "same: unless all pairs differ in one direction, and their median by more than 2 % and by more than any two turns of the base do"

// threshold is the smallest relative difference that is reported as one.
const threshold = 0.02

// comparison is one metric of the turns of two revisions.
type comparison struct {
	base, next float64    // medians
	ratio      float64    // median of the pairs, new divided by base
	pairs      [2]float64 // their smallest and largest ratio
	noise      [2]float64 // the smallest and largest ratio of two turns of the base
	direction  int        // of the difference: -1, 0 for none that can be told from noise, 1
}

// compare compares turns in the order base, next, base, next, …, base: base has
// one more. A turn of next is compared with the geometric mean of the turns of
// base around it, which cancels a drift of the machine. It reports false if a
// value is not positive: the metric was not measured.
func compare(base, next []float64) (comparison, bool) {
	unmeasured := func(v float64) bool { return !(v > 0) || math.IsInf(v, 0) }
	if len(next) == 0 || len(base) != len(next)+1 || slices.ContainsFunc(base, unmeasured) || slices.ContainsFunc(next, unmeasured) {
		return comparison{}, false
	}
	pairs, noise := make([]float64, len(next)), make([]float64, len(next))
	for i := range next {
		pairs[i] = next[i] / math.Sqrt(base[i]*base[i+1])
		noise[i] = base[i+1] / base[i]
	}
	c := comparison{
		base: median(base), next: median(next), ratio: median(pairs),
		pairs: [2]float64{slices.Min(pairs), slices.Max(pairs)},
		noise: [2]float64{slices.Min(noise), slices.Max(noise)},
	}
	c.direction = direction(c.ratio, c.pairs, c.noise)
	return c, true
}

// direction applies the rule. Noise has no direction: a turn that was 10 %
// slower than the one before makes 10 % in either direction noise.
func direction(ratio float64, pairs, noise [2]float64) int {
	bound := max(1+threshold, noise[1], 1/noise[0])
	switch {
	case ratio > bound && pairs[0] > 1:
		return 1
	case ratio < 1/bound && pairs[1] < 1:
		return -1
	}
	return 0
}

// verdict is the word for the difference.
func (m metric) verdict(c comparison) string {
	return map[int]string{-1: m.less, 0: same, 1: m.more}[c.direction]
}

func nanoseconds(ns float64) string { return brief(time.Duration(ns)) }
