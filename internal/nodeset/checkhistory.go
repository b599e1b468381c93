package nodeset

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What Check concludes from the marks of nodes about their past.

// recent is for how long Check speaks of restarts and of clocks that jumped.
const recent = 24 * time.Hour

// checkRestarts finds nodes of which one restarted before the vote of another
// counted again. It considers only restarts after which a node may have lost
// its data.
func (c *Set) checkRestarts(now time.Time) []Finding {
	type restart struct {
		node string
		ago  time.Duration
	}
	var all []restart
	for _, n := range c.nodes {
		if e := n.evidence.Load(); e != nil && e.mark.state == stateSeen && e.mark.begun.client > 0 {
			if ago := now.Sub(time.UnixMilli(e.mark.begun.client)); ago < recent {
				all = append(all, restart{n.name, ago})
			}
		}
	}
	slices.SortFunc(all, func(a, b restart) int { return cmp.Compare(b.ago, a.ago) })
	var names []string
	widest := time.Duration(0)
	for i := 1; i < len(all); i++ {
		apart := all[i-1].ago - all[i].ago
		if apart >= c.quarantine() {
			continue
		}
		widest = max(widest, apart)
		for _, r := range all[i-1 : i+1] {
			if !slices.Contains(names, r.node) {
				names = append(names, r.node)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []Finding{{
		Severity: Warning, Runbook: RunbookRestart,
		Text: fmt.Sprintf("nodes %s restarted too close together: within %v, while the vote of one that restarted counts again after %v",
			strings.Join(names, ", "), widest.Round(time.Second), c.quarantine().Round(time.Second)),
		Fix: "restart one node at a time, and wait until redlock nodes says that it votes; or use appendonly yes with appendfsync always",
	}}
}

// checkJump finds a clock that was set recently: its difference from this
// machine's clock has changed since this process last connected, or since the
// node was marked.
func (n *Node) checkJump(found *nodeFindings, f facts) {
	if f.now.IsZero() {
		return
	}
	n.mu.Lock()
	before, since := n.offset, n.facts.asked
	n.mu.Unlock()
	moved := f.offset() - before
	if e := n.evidence.Load(); moved.Abs() <= 2*clockTolerance+f.took && e != nil && e.mark.begun.client > 0 && e.mark.begun.node > 0 {
		moved = f.offset() - time.Duration(e.mark.begun.node-e.mark.begun.client)*time.Millisecond
		since = time.UnixMilli(e.mark.begun.client)
	}
	if moved.Abs() > 2*clockTolerance+f.took && f.asked.Sub(since) < recent {
		found.add(RunbookClock, Warning, fmt.Sprintf("its clock has jumped by %v since %s UTC, or that of the machine that saw it then: a key's TTL jumps with it",
			moved.Round(time.Millisecond), since.UTC().Format(time.DateTime)), "see that NTP slews the clocks of nodes and never steps them")
	}
}
