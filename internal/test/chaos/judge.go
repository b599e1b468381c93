//go:build unix

package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// promise is the kind of a rule, which decides whether a slow machine excuses a violation.
type promise int

const (
	// safety holds even on the slowest machine.
	safety promise = iota
	// progress needs a machine on which processes run and nodes answer in time.
	progress
)

// rules must hold in every history, even in one that was cut short. Each check returns one line for each violation.
var rules = []struct {
	name  string
	about promise
	check func(*history) []string
}{
	// The promises of locks, the store, checkpoints and elections hold whatever the delays: only events can break them,
	// never missing events.
	{"tokens are given once", safety, givenOnce},
	{"later acquisitions have larger tokens", safety, inOrder},
	{"holders do not overlap", safety, exclusive}, // the check itself excuses a client that did not run, on any machine
	{"no more hold a key than its limit", safety, belowLimit},
	{"readers see one version", safety, steady}, // as above
	{"the store is guarded", safety, guarded},
	{"checkpoints are remembered", safety, remembered},
	{"checkpoints were made, and in time", safety, made}, // before a newer lease read them: an order, not a duration
	{"leaders are in order", safety, orderly},
	// Delays cause no error other than a time-out.
	{"errors have their faults", safety, explained},
	{"time-outs have their faults", progress, expected},
	// These rules expect something within a bound of real time, or count events: a process that does not run acquires
	// nothing.
	{"observers see leaders", progress, observed},
	{"every key can be had again", progress, recovered},
	{"a stopped client does not slow others down", progress, unhindered},
	{"a resize leaves a quorum", progress, unbroken},
	{"something was done", progress, lively},
}

// judge adds the violations of the rules in a history.
func (f *findings) judge(h *history) {
	for _, r := range rules {
		for _, text := range r.check(h) {
			text = r.name + ": " + text
			if r.about == safety {
				f.broken = append(f.broken, text)
			} else {
				f.missed = append(f.missed, text)
			}
		}
	}
	if len(f.broken) > 0 {
		return // the search may never end in a history with violations
	}
	broken, undecided := sequential(h, sequentialTimeout)
	if broken != "" {
		f.broken = append(f.broken, broken)
	}
	if undecided != "" { // the search is too slow on a slow machine
		f.missed = append(f.missed, undecided)
	}
}

func sortBy[T any](all []T, by func(T) int64) {
	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(by(a), by(b)) })
}

func (h *history) ms(t int64) string {
	return fmt.Sprintf("%.3f ms", float64(t-h.Start)/float64(time.Millisecond))
}

func (h *history) describe(a attempt) string {
	held := "never acquired"
	switch {
	case a.Acquired != 0 && a.Until == 0:
		held = fmt.Sprintf("token %d, held since %s", a.Token, h.ms(a.Acquired))
	case a.Acquired != 0:
		held = fmt.Sprintf("token %d, held from %s to %s", a.Token, h.ms(a.Acquired), h.ms(a.Until))
	}
	way := a.Way
	switch {
	case a.Reads:
		way += " to read"
	case a.Limit > 0 && a.Acquired != 0:
		way += fmt.Sprintf(" of slot %d of %d", a.Slot, a.Limit)
	}
	return fmt.Sprintf("client %d, op %d (%s, asked at %s, %s)", a.Client, a.Op, way, h.ms(a.Call), held)
}
