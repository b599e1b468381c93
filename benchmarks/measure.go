//go:build unix

package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
)

// faults is what a sample of this module must not contain.
func faults(s turn.Sample) []string {
	all := disorder(s)
	if s.Failed > 0 {
		all = append(all, fmt.Sprintf("%d operations failed, the first: %s", s.Failed, s.Error))
	}
	return all
}

// disorder is what breaks mutual exclusion or the order of tokens.
func disorder(s turn.Sample) []string { return append(s.Broken, judge(s.Holds, s.Limit)...) }

// figures are a sample in numbers. What was not measured is 0.
type figures struct {
	Rate        float64       // operations per second
	P50         time.Duration // of the latencies
	P99         time.Duration
	Max         time.Duration
	CPU         float64 // of the client, ns per operation
	ServerCPU   float64 // of all servers, ns per operation
	Allocs      float64 // of the client, per operation
	Memory      float64 // of the client, bytes per lease
	LeastServed float64 // operations of the worker with the fewest, divided by the mean
	LeastReads  float64 // the same of the operations that only read
	LeastWrites float64 // the same of the others
	InUse       float64 // of a key with a limit: the part of the time that its slots were held
	Most        int     // holders of a key at once
	Failed      int
}

var errNothing = errors.New("nothing was done")

func figuresOf(s turn.Sample) (figures, error) {
	n := float64(s.Ops())
	if n == 0 {
		return figures{}, errNothing
	}
	slices.Sort(s.Latencies)
	at := func(q float64) time.Duration {
		if len(s.Latencies) == 0 {
			return 0
		}
		return s.Latencies[min(len(s.Latencies)-1, int(q*float64(len(s.Latencies))))]
	}
	return figures{
		Rate: n / s.Elapsed.Seconds(),
		P50:  at(0.5), P99: at(0.99), Max: at(1),
		CPU:         float64(s.CPU) / n,
		ServerCPU:   float64(s.ServerCPU) / n,
		Allocs:      float64(s.Mallocs) / n,
		Memory:      s.Memory,
		LeastServed: least(s.PerWorker),
		LeastReads:  least(s.Reads),
		LeastWrites: least(writes(s)),
		InUse:       inUseOf(s),
		Most:        most(s.Holds),
		Failed:      s.Failed,
	}, nil
}

// least is the smallest of some counts, divided by their mean; 0 if all are 0.
func least(counts []int) float64 {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	if sum == 0 {
		return 0
	}
	return float64(slices.Min(counts)) * float64(len(counts)) / float64(sum)
}

// writes is how many operations of each worker did not only read.
func writes(s turn.Sample) (counts []int) {
	for i, reads := range s.Reads {
		counts = append(counts, s.PerWorker[i]-reads)
	}
	return counts
}

// inUseOf is the time that holders worked, divided by the time that they could
// have worked, or 0 for a key without a limit. The work is what was measured: a
// sleep takes longer than it was asked to.
func inUseOf(s turn.Sample) float64 {
	if s.Limit == 0 {
		return 0
	}
	var worked int64
	for _, h := range s.Holds {
		worked += h.To - h.From
	}
	return float64(worked) / float64(s.Limit) / float64(s.Elapsed)
}

// middle is the figures of several rounds, each the median by itself. Failures
// add up, and the most holders at once are those of all rounds.
func middle(all []figures) figures {
	m := figures{
		Rate:        medianOf(all, func(f figures) float64 { return f.Rate }),
		P50:         medianOf(all, func(f figures) time.Duration { return f.P50 }),
		P99:         medianOf(all, func(f figures) time.Duration { return f.P99 }),
		Max:         medianOf(all, func(f figures) time.Duration { return f.Max }),
		CPU:         medianOf(all, func(f figures) float64 { return f.CPU }),
		ServerCPU:   medianOf(all, func(f figures) float64 { return f.ServerCPU }),
		Allocs:      medianOf(all, func(f figures) float64 { return f.Allocs }),
		Memory:      medianOf(all, func(f figures) float64 { return f.Memory }),
		LeastServed: medianOf(all, func(f figures) float64 { return f.LeastServed }),
		LeastReads:  medianOf(all, func(f figures) float64 { return f.LeastReads }),
		LeastWrites: medianOf(all, func(f figures) float64 { return f.LeastWrites }),
		InUse:       medianOf(all, func(f figures) float64 { return f.InUse }),
	}
	for _, f := range all {
		m.Failed += f.Failed
		m.Most = max(m.Most, f.Most)
	}
	return m
}

func medianOf[T int64 | float64 | time.Duration](all []figures, of func(figures) T) T {
	values := make([]T, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	return median(values)
}

// median is the middle value, or the mean of the two in the middle.
func median[T int64 | float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
