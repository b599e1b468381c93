package harness

import (
	"slices"
	"testing"
	"time"
)

// Ratio is a benchmark of how many times as long an operation takes with
// something as without it. It alternates between the two, so that other load of
// the machine affects both, and reports both medians and their ratio.
func Ratio(b *testing.B, without, with func() error) {
	b.Helper()
	turn := func(f func() error) time.Duration {
		began := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	turn(without) // connects and warms up
	turn(with)
	var bare, more []time.Duration
	for b.Loop() {
		bare, more = append(bare, turn(without)), append(more, turn(with))
	}
	middle := func(all []time.Duration) float64 {
		slices.Sort(all)
		return float64(all[len(all)/2])
	}
	b.ReportMetric(middle(more)/middle(bare), "ratio")
	b.ReportMetric(middle(bare)/1e3, "without-µs")
	b.ReportMetric(middle(more)/1e3, "with-µs")
	b.ReportMetric(0, "ns/op")
}
