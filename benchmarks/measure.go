//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sample is what one library did in one turn.
type sample struct {
	Elapsed   time.Duration
	Latencies []time.Duration // of each operation, or of each wait for the key
	PerWorker []int           // operations
	CPU       time.Duration   // of the clients, system calls included
	Mallocs   uint64
	Failed    int
	Error     string   // of the first that failed
	Holds     []hold   // where a key is shared
	Broken    []string // tokens that did not grow
}

// hold is a time in which a worker had the key, by the machine's monotonic clock.
type hold struct {
	From, To int64
	Token    int64
}

func (s *sample) ops() int {
	n := 0
	for _, w := range s.PerWorker {
		n += w
	}
	return n
}

// fail counts operations that failed.
func (s *sample) fail(text string, n int) {
	s.Failed += n
	s.Error = cmp.Or(s.Error, text)
}

// traffic says what the workers of one process do.
type traffic struct {
	Key     string        `json:"key"`
	Workers int           `json:"workers"`
	Shared  bool          `json:"shared"` // all on one key; else each on a key of its own
	For     time.Duration `json:"for"`
}

// drive has workers lock and unlock as fast as they can. Shared keys are timed from asking to having, others from asking
// to having given back.
func drive(l locker, t traffic) sample {
	ctx, cancel := context.WithTimeout(context.Background(), t.For+20*time.Second)
	defer cancel()
	parts := make([]sample, t.Workers)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu, began := cpuTime(), time.Now()
	var wg sync.WaitGroup
	for w := range t.Workers {
		key := t.Key
		if !t.Shared {
			key += ":" + strconv.Itoa(w)
		}
		wg.Go(func() { parts[w] = work(ctx, l, key, t.Shared, began.Add(t.For)) })
	}
	wg.Wait()
	all := merge(parts)
	all.Elapsed, all.CPU = time.Since(began), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	all.Mallocs = after.Mallocs - before.Mallocs
	return all
}

func work(ctx context.Context, l locker, key string, shared bool, until time.Time) sample {
	var s sample
	done, last := 0, int64(0)
	for asked := time.Now(); asked.Before(until); asked = time.Now() {
		var took time.Duration
		err := l.under(ctx, key, func(token int64) {
			took = time.Since(asked)
			if token != 0 && token <= last {
				s.Broken = append(s.Broken, fmt.Sprintf("%s: token %d came after %d", key, token, last))
			}
			last = token
			if shared {
				h := hold{From: now(), Token: token}
				h.To = now()
				s.Holds = append(s.Holds, h)
			}
		})
		if err != nil {
			s.fail(err.Error(), 1)
			continue
		}
		if !shared {
			took = time.Since(asked)
		}
		s.Latencies = append(s.Latencies, took)
		done++
	}
	s.PerWorker = []int{done}
	return s
}

// merge adds up what was done side by side.
func merge(parts []sample) sample {
	var all sample
	for _, p := range parts {
		all.Elapsed = max(all.Elapsed, p.Elapsed)
		all.Latencies = append(all.Latencies, p.Latencies...)
		all.PerWorker = append(all.PerWorker, p.PerWorker...)
		all.CPU += p.CPU
		all.Mallocs += p.Mallocs
		all.fail(p.Error, p.Failed)
		all.Holds = append(all.Holds, p.Holds...)
		all.Broken = append(all.Broken, p.Broken...)
	}
	return all
}

// judge finds holders that overlap, and tokens that do not grow from one holder to the next.
func judge(holds []hold) (broken []string) {
	slices.SortFunc(holds, func(a, b hold) int { return cmp.Compare(a.From, b.From) })
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

// now is the machine's monotonic clock in ns, the same for all processes on it.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// figures are a sample in numbers.
type figures struct {
	Rate        float64       // operations per second
	P50         time.Duration // of the latencies
	P99         time.Duration
	Max         time.Duration
	Mean        time.Duration
	CPU         time.Duration // of the client per operation
	Allocs      float64       // per operation
	LeastServed float64       // the worker with the fewest operations, of the mean
	Failed      int
}

var errNothing = errors.New("nothing was done")

func (s *sample) figures() (figures, error) {
	n := s.ops()
	if n == 0 {
		return figures{}, errNothing
	}
	slices.Sort(s.Latencies)
	var sum time.Duration
	for _, d := range s.Latencies {
		sum += d
	}
	at := func(q float64) time.Duration {
		return s.Latencies[min(len(s.Latencies)-1, int(q*float64(len(s.Latencies))))]
	}
	return figures{
		Rate: float64(n) / s.Elapsed.Seconds(),
		P50:  at(0.5), P99: at(0.99), Max: s.Latencies[len(s.Latencies)-1],
		Mean:        sum / time.Duration(len(s.Latencies)),
		CPU:         s.CPU / time.Duration(n),
		Allocs:      float64(s.Mallocs) / float64(n),
		LeastServed: float64(slices.Min(s.PerWorker)) * float64(len(s.PerWorker)) / float64(n),
		Failed:      s.Failed,
	}, nil
}

// middle is the figures of several rounds, each the median by itself. Failures add up.
func middle(all []figures) figures {
	m := figures{
		Rate:        median(all, func(f figures) float64 { return f.Rate }),
		P50:         median(all, func(f figures) time.Duration { return f.P50 }),
		P99:         median(all, func(f figures) time.Duration { return f.P99 }),
		Max:         median(all, func(f figures) time.Duration { return f.Max }),
		Mean:        median(all, func(f figures) time.Duration { return f.Mean }),
		CPU:         median(all, func(f figures) time.Duration { return f.CPU }),
		Allocs:      median(all, func(f figures) float64 { return f.Allocs }),
		LeastServed: median(all, func(f figures) float64 { return f.LeastServed }),
	}
	for _, f := range all {
		m.Failed += f.Failed
	}
	return m
}

func median[T cmp.Ordered](all []figures, of func(figures) T) T {
	values := make([]T, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
