package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

// picture is the state of the nodes and locks at one moment.
type picture struct {
	at     time.Time
	quorum int
	every  time.Duration
	nodes  []cluster.Report
	locks  []lock.Inspection
	err    error // why there are no locks
}

func (r *topCmd) picture(ctx context.Context, v *view) picture {
	p := picture{quorum: v.c.Quorum(), every: r.Every}
	var wg sync.WaitGroup
	wg.Go(func() { p.nodes = v.c.Survey(ctx) })
	wg.Go(func() { p.locks, p.err = v.locker.List(ctx, r.Begin) })
	wg.Wait()
	p.at = time.Now()
	slices.SortStableFunc(p.locks, func(a, b lock.Inspection) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(sinceOrLast(a), sinceOrLast(b)))
	})
	return p
}

// sinceOrLast returns the sort key that orders locks by age, those of unknown
// age last.
func sinceOrLast(i lock.Inspection) int64 {
	since := i.Since()
	if since.IsZero() {
		return 1 << 62
	}
	return since.UnixMicro()
}

// topParts is how many of those that hold a lock together have a row: a lock with 64
// readers would leave no room for others.
const topParts = 3

// lines returns the picture for a terminal of this size; the last line is the
// help. For 0, 0 it returns everything, without the help.
func (p picture) lines(width, height int) []painted {
	s := strengthOf(p.nodes, p.quorum)
	all := []painted{{plain, fmt.Sprintf("redlock top  %d of %d nodes up, quorum %d  %s  %s  %s", s.up, s.nodes, p.quorum,
		plural(len(p.locks), "lock", "locks"), plural(totalWaiting(p.locks), "wait", "waits"), p.at.Format(time.TimeOnly))}, {}}
	head, cells, hidden := fitTable(width, nodeColumns, nodeRows(p.nodes), "APPEND-ONLY", "EVICTION", ">CLOCK", "VERSION", ">UPTIME", ">LATENCY")
	for i, text := range tableLines(head, cells) {
		all = append(all, painted{p.nodeStyle(i - 1), text})
	}
	for _, t := range troublesOf(p.nodes) {
		all = append(all, painted{quiet, t.String()})
	}
	if s.voting < s.quorum {
		all = append(all, painted{broken, s.text()})
	}
	all = append(all, painted{})
	if err := listingError(p.err); err != nil {
		all = append(all, painted{broken, errorLine(err)})
	}
	if len(p.locks) > 0 || p.err == nil {
		rows, of := lockRows(p.locks, p.at, topParts)
		head, cells, more := fitTable(width, lockColumns, rows, ">TOKEN", "MODE", ">LEFT", ">AGE", "NODES")
		hidden = append(hidden, more...)
		for i, text := range tableLines(head, cells) {
			if height > 0 && len(all) >= height-2 && len(rows) > i {
				all = append(all, painted{quiet, moreText(of, i-1, p.locks)})
				break
			}
			all = append(all, painted{p.lockStyle(of, i-1), text})
		}
	}
	if height == 0 {
		return all
	}
	return append(all[:min(len(all), height-1)], painted{quiet, helpLine(hidden)})
}

// helpLine names the keys, and the columns for which the terminal has no room.
func helpLine(hidden []string) string {
	if len(hidden) == 0 {
		return "q quits"
	}
	return "q quits; no room for " + strings.Join(hidden, ", ")
}

func (p picture) nodeStyle(i int) style {
	switch {
	case i < 0:
		return quiet
	case !p.nodes[i].Up:
		return broken
	case !p.nodes[i].Votes:
		return fault
	}
	return plain
}

// lockStyle is the style of a row, which is about the lock that of says.
func (p picture) lockStyle(of []int, row int) style {
	switch {
	case row < 0:
		return quiet
	case p.locks[of[row]].Waiting > 0:
		return fault
	}
	return plain
}

// moreText says how many of the locks have no row before this one, or how many
// holders of the last have none.
func moreText(of []int, row int, locks []lock.Inspection) string {
	row = max(row, 0)
	last := of[row]
	shown := row - slices.Index(of, last) // the lock's rows
	rest := len(locks) - last
	if shown > 0 {
		rest--
	}
	if rest == 0 {
		holders := max(len(locks[last].Readers), len(locks[last].Slots)) - (shown - 1)
		return "… " + plural(holders, "more holder of it", "more holders of it")
	}
	return fmt.Sprintf("… %s more", thousands(rest))
}
