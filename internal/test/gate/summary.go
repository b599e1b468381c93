package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// slowest is how many tests the table of the slowest tests lists.
const slowest = 12

// summary prints the result of all stages.
func (g *gate) summary(passed bool) {
	r := g.results
	slices.SortStableFunc(r.timed, func(a, b test) int { return cmp.Compare(b.took, a.took) })
	if top := r.timed[:min(slowest, len(r.timed))]; len(top) > 0 {
		fmt.Fprintln(g.out, "\nThe slowest tests:")
		for _, t := range top {
			fmt.Fprintf(g.out, "  %5.1f s  %s\n", t.took.Seconds(), t.short())
		}
	}
	g.leftOut()
	if len(r.inconclusive) > 0 {
		fmt.Fprintf(g.out, "\nNot judged, because the machine was too slow (%s):\n", g.slowness())
		for _, t := range r.inconclusive {
			fmt.Fprintf(g.out, "  %s: %s\n", t.short(), t.said)
		}
	}
	took := time.Since(g.began).Round(time.Second)
	if !passed {
		fmt.Fprintf(g.out, "\nFAILED after %v.\n", took)
		return
	}
	fmt.Fprintf(g.out, "\nPassed in %v", took)
	if r.nodes != "" {
		race := "with the race detector"
		if len(g.raceFlag) == 0 {
			race = "WITHOUT the race detector, which needs a C compiler"
		}
		fmt.Fprintf(g.out, ", %s, on %s", race, r.nodes)
	}
	fmt.Fprintf(g.out, ".\n%d passed, 0 failed, %d skipped\n", r.passed, len(r.skipped)+len(r.inconclusive))
}

// ranBefore is package harness's reason for a test that make test ran.
const ranBefore = "it is in the first part of the tests"

// leftOut lists why tests were skipped, each reason once.
func (g *gate) leftOut() {
	byReason := map[string][]test{}
	var reasons []string
	for _, t := range g.results.skipped {
		if t.said == ranBefore {
			continue
		}
		if byReason[t.said] == nil {
			reasons = append(reasons, t.said)
		}
		byReason[t.said] = append(byReason[t.said], t)
	}
	if len(reasons) == 0 {
		return
	}
	fmt.Fprintln(g.out, "\nLeft out:")
	for _, reason := range reasons {
		tests := byReason[reason]
		what := tests[0].short()
		if n := len(tests) - 1; n > 0 {
			what += fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(g.out, "  %s: %s\n", what, reason)
	}
}

// slowness returns how slow the machine was while the stages ran.
func (g *gate) slowness() string {
	text := fmt.Sprintf("timers of this program were late by up to %v", g.meter.Worst().Round(time.Millisecond))
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		average, _, _ := strings.Cut(string(load), " ")
		text += ", load average " + average
	}
	return text
}
