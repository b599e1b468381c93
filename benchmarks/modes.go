//go:build unix

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
)

// inModes reports whether a workload belongs to the section of modes.
func (w workload) inModes() bool { return strings.HasPrefix(w.name, "modes ") }

// mixed is writers among readers. Its turns are three times as long as others,
// so that each goroutine writes often enough to be compared.
func mixed(s *stage) (turn.Sample, error) {
	return s.together(6, s.load(turn.Traffic{
		Workers: 4, Keys: turn.Shared, Reads: 9, Work: 2 * time.Millisecond, For: 3 * s.duration,
	}))
}

// limited is work of which a limited number runs at once.
func limited(s *stage) (turn.Sample, error) {
	sample, err := alone(turn.Traffic{Workers: 64, Keys: turn.Shared, Work: 5 * time.Millisecond})(s)
	sample.Limit = turn.Limit
	return sample, err
}

// elsewhere has two processes lock a key in turn. An operation counts only if the
// other process retains the key when it begins: see isRetained.
func elsewhere(s *stage) (turn.Sample, error) {
	var both [2]*driver
	for i := range both {
		var err error
		if both[i], _, err = s.warm(turn.Traffic{Workers: 1}); err != nil {
			return turn.Sample{}, err
		}
	}
	once := s.load(turn.Traffic{Workers: 1, Keys: turn.Shared, Once: true})
	var parts []turn.Sample
	began := time.Now()
	for i := 0; time.Since(began) < s.duration; i++ {
		counts, err := s.isRetained(once.Key)
		if err != nil {
			return turn.Sample{}, err
		}
		part, err := both[i%2].execute(turn.Order{Drive: &once})
		if err != nil {
			return turn.Sample{}, err
		}
		if !counts {
			part.Latencies, part.PerWorker, part.Reads = nil, nil, nil
		}
		parts = append(parts, part)
	}
	sample := turn.Merge(parts)
	sample.PerWorker, sample.Reads = []int{sample.Ops()}, nil
	sample.Elapsed = time.Since(began)
	return sample, nil
}

// isRetained reports whether more than half of the nodes have the key. It is
// true of libraries that retain nothing.
func (s *stage) isRetained(key string) (bool, error) {
	if s.contender.library != turn.Retaining {
		return true, nil
	}
	have := 0
	for _, client := range s.clients {
		n, err := client.Exists(s.ctx, turn.RedisKeys(s.contender.library, key)...).Result()
		if err != nil {
			return false, err
		}
		have += int(n)
	}
	return have > len(s.clients)/2, nil
}

// column is one more figure of the rows of a workload.
type column struct {
	head string
	of   func(r row, rows []row) string
}

var (
	leastReads  = column{"least reads", func(r row, _ []row) string { return fmt.Sprintf("%.2f", r.LeastReads) }}
	leastWrites = column{"least writes", func(r row, _ []row) string { return fmt.Sprintf("%.2f", r.LeastWrites) }}
	mostAtOnce  = column{"most at once", func(r row, _ []row) string { return fmt.Sprint(r.Most) }}
	inUse       = column{"in use", func(r row, _ []row) string { return fmt.Sprintf("%.3f", r.InUse) }}
	asLate      = column{"p50 against", row.lateness}
)
