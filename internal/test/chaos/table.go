//go:build unix

package chaos

import (
	"fmt"
	"strings"
	"sync"
)

// Table sums up histories by scenario.
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

type sum struct {
	tally
	runs, excused, broken int
}

func (t *Table) add(name string, one tally, excused, broken int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows[name] == nil {
		t.rows[name] = &sum{}
	}
	s := t.rows[name]
	s.tally.add(one)
	s.runs++
	s.excused += excused
	s.broken += broken
}

func (t *Table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	var all sum
	const head, line = "%-56s %5s %7s %8s %8s %6s %9s %7s %7s %11s %7s %7s %7s %7s %10s\n", "%-56s %5d %7d %8d %8d %6d %9d %7d %7d %11d %7d %7d %7d %7d %10d\n"
	fmt.Fprintf(&b, head, "scenario", "runs", "faults", "attempts", "acquired", "lost", "takeovers", "writes", "refused",
		"checkpoints", "resumed", "leaders", "stalls", "excused", "violations")
	row := func(name string, s *sum) {
		fmt.Fprintf(&b, line, name, s.runs, s.faults, s.attempts, s.acquired, s.lost, s.takeovers, s.writes, s.refused,
			s.kept, s.resumed, s.leaders, s.stalls, s.excused, s.broken)
	}
	for _, name := range t.order {
		s := t.rows[name]
		if s == nil {
			continue
		}
		row(name, s)
		all.tally.add(s.tally)
		all.runs += s.runs
		all.excused += s.excused
		all.broken += s.broken
	}
	row("all", &all)
	return b.String()
}

// rowOf is one history in a line.
func rowOf(t tally, excused, broken int) string {
	return fmt.Sprintf("%d faults, %d attempts, %d acquired (%d while faults lasted), %d lost, %d takeovers; store: %d reads, %d writes, %d refused; "+
		"%d checkpoints, %d resumed; %d leaders; %d stalls, %d overlaps excused by them; %d violations",
		t.faults, t.attempts, t.acquired, t.duringFaults, t.lost, t.takeovers, t.reads, t.writes, t.refused,
		t.kept, t.resumed, t.leaders, t.stalls, excused, broken)
}
