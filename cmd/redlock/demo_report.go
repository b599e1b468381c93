package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is the outcome of the demo.
type result struct {
	orders, holds, waits, handOvers, losses, rejected, overlaps int

	p50, p99, longest time.Duration

	kept, broken []string
}

// result collects the counts and checks each promise against its record.
func (m *demo) result() result {
	r := result{
		orders: len(m.store.written), holds: m.gauge.holds, rejected: m.store.rejected, overlaps: len(m.gauge.overlaps),
	}
	var took []time.Duration
	troubles := m.unexpected
	for _, w := range m.workers {
		s := w.locker.Stats()
		r.waits, r.handOvers, r.losses = r.waits+int(s.Waits), r.handOvers+int(s.HandOvers), r.losses+int(s.Losses)
		took = append(took, w.took...)
		for _, err := range w.troubles {
			troubles = append(troubles, "worker "+w.name+": "+err.Error())
		}
	}
	slices.Sort(took)
	r.p50, r.p99, r.longest = quantile(took, 0.50), quantile(took, 0.99), quantile(took, 1)
	promise := func(text string, against []string) {
		if len(against) == 0 {
			r.kept = append(r.kept, text)
			return
		}
		r.broken = append(r.broken, fmt.Sprintf("%s: %s", text, shorten(against)))
	}
	stale, twice, missing := audit(m.store.written)
	promise("one holder at a time", m.gauge.overlaps)
	promise("every token larger than the one before", m.gauge.disorder)
	promise("no write with an old token accepted", append(stale, m.lateWrite()...))
	promise("every order done once, none left out", append(twice, missing...))
	promise(m.progressPromise(), m.noProgress(r.orders))
	promise("no error that should not be", troubles)
	return r
}

// lateWrite returns the fault of worker E's late write, if it was accepted.
func (m *demo) lateWrite() []string {
	if m.asleep.wrote && m.asleep.err == nil {
		return []string{"worker E's late one was"}
	}
	return nil
}

// progressPromise returns the promise of progress that can be checked: a strong
// one only if the faults left a quorum.
func (m *demo) progressPromise() string {
	if m.nodes == nil || m.stalled || m.noQuorum.Load() {
		return "work continues"
	}
	return fmt.Sprintf("work continues while %d of %d nodes answer", m.quorum, m.nodes.Len())
}

func (m *demo) noProgress(orders int) []string {
	if orders == 0 {
		return []string{"none was done"}
	}
	return nil
}

// shorten joins the first few texts.
func shorten(all []string) string {
	const most = 3
	if len(all) <= most {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:most], "; "), len(all)-most)
}

// summarize prints the table, the promises, and a last line that says whether
// they held.
func (m *demo) summarize(r result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintln(m.w)
	row := func(name, value, remark string) {
		for _, line := range wrap(remark, m.width-36) {
			fmt.Fprintln(m.w, strings.TrimRight(fmt.Sprintf("  %-20s %10s   %s", name, value, m.paint(quiet, line)), " "))
			name, value = "", ""
		}
	}
	number := func(name string, value int, remark string) { row(name, thousands(value), remark) }
	number("orders", r.orders, "done, by workers A to D")
	number("locks", r.holds, "each with its own token")
	number("hand-overs", r.handOvers, "of these within a worker, without asking the nodes")
	number("waits", r.waits, "queued behind another goroutine of the same worker")
	number("losses", r.losses, "locks that ended while held"+m.ifOverslept("; worker E's is one"))
	number("rejected writes", r.rejected, "by the store, for an old token")
	number("overlaps", r.overlaps, "moments with two holders")
	row("wait for the lock", brief(r.p50), "p50, with "+strconv.Itoa(demoWorkers*demoLoops)+" goroutines after it")
	row("", brief(r.p99), "p99")
	row("", brief(r.longest), "longest"+m.ifOverslept(", while worker E's key had to expire"))
	fmt.Fprintln(m.w)
	for _, text := range r.kept {
		fmt.Fprintf(m.w, "  %s  %s\n", m.paint(fixed, "kept  "), m.hanging(text, 10))
	}
	for _, text := range r.broken {
		fmt.Fprintf(m.w, "  %s  %s\n", m.paint(broken, "BROKEN"), m.hanging(text, 10))
	}
	if len(r.broken) > 0 {
		fmt.Fprintf(m.w, "\n%s\n", m.paint(broken, fmt.Sprintf("%d of %d promises broken.", len(r.broken), len(r.broken)+len(r.kept))))
		return
	}
	fmt.Fprintf(m.w, "\n%s\n", m.paint(strong, "Every promise held."))
}

// ifOverslept returns text if worker E has slept past its TTL, and ""
// otherwise.
func (m *demo) ifOverslept(text string) string {
	if m.asleep.wrote {
		return text
	}
	return ""
}
