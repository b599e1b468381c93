//go:build unix

package main

import (
	"cmp"
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
func disorder(s turn.Sample) []string { return append(s.Broken, judge(s.Holds)...) }

// judge finds holders that overlap, and tokens that do not grow from one holder to the next.
func judge(holds []turn.Hold) (broken []string) {
	slices.SortFunc(holds, func(a, b turn.Hold) int { return cmp.Compare(a.From, b.From) })
	for i := 1; i < len(holds); i++ {
		a, b := holds[i-1], holds[i]
		if b.From < a.To {
			broken = append(broken, fmt.Sprintf("two holders for %v", time.Duration(a.To-b.From)))
		}
		if a.Token != 0 && b.Token <= a.Token {
			broken = append(broken, fmt.Sprintf("token %d came after %d", b.Token, a.Token))
		}
	}
	return broken
}

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
		LeastServed: float64(slices.Min(s.PerWorker)) * float64(len(s.PerWorker)) / n,
		Failed:      s.Failed,
	}, nil
}

// middle is the figures of several rounds, each the median by itself. Failures
// add up.
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
	}
	for _, f := range all {
		m.Failed += f.Failed
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
