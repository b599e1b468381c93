//go:build unix

package chaos

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Table summarizes runs by scenario.
type Table struct {
	mu    sync.Mutex
	order []string
	rows  map[string]*sum
}

// NewTable returns an empty table with its rows in the order of the scenarios.
func NewTable(all []Scenario) *Table {
	t := &Table{rows: map[string]*sum{}}
	for _, sc := range all {
		t.order = append(t.order, sc.Name)
	}
	return t
}

// sum summarizes several runs, and how slow the machine was at worst.
type sum struct {
	tally
	runs, inconclusive, excused, broken, missed int

	late, trip, wait time.Duration
}

func (s *sum) join(o sum) {
	s.tally.add(o.tally)
	s.runs += o.runs
	s.inconclusive += o.inconclusive
	s.excused += o.excused
	s.broken += o.broken
	s.missed += o.missed
	s.late, s.trip, s.wait = max(s.late, o.late), max(s.trip, o.trip), max(s.wait, o.wait)
}

func (t *Table) add(r *run) {
	_, excused := r.h.overlaps()
	one := sum{tally: r.h.tally(), runs: 1, excused: excused, broken: len(r.broken)}
	switch r.verdict() {
	case inconclusive:
		one.inconclusive = 1
	case behind, violated:
		one.missed = len(r.missed)
	}
	for _, s := range r.h.speeds() {
		if s.node {
			one.trip = max(one.trip, s.Worst)
		} else {
			one.late, one.wait = max(one.late, s.Worst), max(one.wait, s.Wait)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows[r.h.Scenario] == nil {
		t.rows[r.h.Scenario] = &sum{}
	}
	t.rows[r.h.Scenario].join(one)
}

// legend explains columns whose headings are not enough.
const legend = `violated: broken promises. missed: progress missed on a machine that was fine. unclear: runs without a verdict,
because progress was missed on a machine that was slow. acquired: in all modes, shared to read, slots with a limit.
late: by how many ms a timer fired late at worst. wait: for how many µs a thread waited for a processor on average.
trip: how many ms the longest round trip on an idle link took.
`

func (t *Table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	var all sum
	fmt.Fprintf(&b, "%-40s %4s %8s %6s %7s %6s %8s %6s %6s %5s %5s %5s\n",
		"scenario", "runs", "violated", "missed", "unclear", "faults", "acquired", "shared", "slots", "late", "wait", "trip")
	row := func(name string, s *sum) {
		fmt.Fprintf(&b, "%-40s %4d %8d %6d %7d %6d %8d %6d %6d %5d %5d %5d\n",
			name, s.runs, s.broken, s.missed, s.inconclusive, s.faults, s.acquired, s.shared, s.slots,
			s.late.Milliseconds(), s.wait.Microseconds(), s.trip.Milliseconds())
	}
	for _, name := range t.order {
		if s := t.rows[name]; s != nil {
			row(name, s)
			all.join(*s)
		}
	}
	row("all", &all)
	fmt.Fprintf(&b, "%d attempts, %d lost, %d takeovers, %d reads, %d writes, %d refused, %d checkpoints, %d resumed,\n"+
		"%d leaders, %d stalls, %d overlaps excused by them, %d times readers of two clients, %d times all slots\n",
		all.attempts, all.lost, all.takeovers, all.reads, all.writes, all.refused,
		all.kept, all.resumed, all.leaders, all.stalls, all.excused, all.besideReaders, all.full)
	b.WriteString(legend)
	return b.String()
}
