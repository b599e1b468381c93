package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Severity says what a Finding can cost.
type Severity int

const (
	Note    Severity = iota // worth knowing
	Warning                 // costs availability or comes near to costing a lock
	Danger                  // can lose a lock, or will not go away by itself
)

func (s Severity) String() string { return [...]string{"note", "warning", "danger"}[s] }

// Finding is one thing Check found.
type Finding struct {
	Node     string // "" for the set as a whole
	Severity Severity
	Text     string // what is so
	Fix      string // what to do about it
}

func (f Finding) String() string {
	where := "set"
	if f.Node != "" {
		where = "node " + f.Node
	}
	return fmt.Sprintf("%s: %s: %s; %s", f.Severity, where, f.Text, f.Fix)
}

// clockTolerance is the offset between a node's clock and ours from which Check speaks of it.
const clockTolerance = 500 * time.Millisecond

// Check asks every node what could make locks on it unsafe: how it is reached, its role, eviction policy, persistence,
// clock, version, restarts. It returns what it found, the set's findings first, then each node's in order; an empty
// list is good news. It changes nothing, and takes at most a few NodeTimeouts.
func (c *Cluster) Check(ctx context.Context) []Finding {
	found := append(c.checkSet(), c.checkRecord()...)
	perNode := make([][]Finding, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { perNode[i] = n.check(ctx) })
	}
	wg.Wait()
	for _, f := range perNode {
		found = append(found, f...)
	}
	return found
}

func (c *Cluster) checkSet() []Finding {
	switch n := len(c.nodes); {
	case n == 1:
		return []Finding{{Severity: Warning, Text: "there is one node only", Fix: "locks stop when it stops; use 3, 5 or 7"}}
	case n%2 == 0:
		return []Finding{{Severity: Warning, Text: fmt.Sprintf("%d nodes tolerate no more failures than %d", n, n-1), Fix: "use an odd number"}}
	}
	return nil
}

// checkRecord looks whether the nodes are a set.
func (c *Cluster) checkRecord() []Finding {
	if c.record.Load() != nil {
		return nil
	}
	all, _ := c.marks()
	if _, err := c.planFor(all); err != nil {
		return []Finding{{Severity: Danger, Text: err.Error(), Fix: "this process lists " + listing(c.nodeNames(), c.Quorum())}}
	}
	return []Finding{{
		Severity: Warning, Text: "the set is not bootstrapped yet, so nothing can be locked: a process that is to lock bootstraps it once it has met all nodes, or a quorum of them for " + c.quarantine().String(),
		Fix: "open one, and see which nodes are down",
	}}
}

func (n *Node) check(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, 2*n.c.cfg.NodeTimeout)
	defer cancel()
	var found []Finding
	add := func(s Severity, text, fix string) { found = append(found, Finding{n.name, s, text, fix}) }
	before := time.Now()
	var f facts
	var err error
	if d := n.down.Load(); d != nil {
		err = d.error() // it is being tried all the time
	} else {
		f, err = askFacts(ctx, n.client)
	}
	switch {
	case err == nil:
	case Unusable(err):
		add(Danger, "cannot be used: "+err.Error(), "fix the server, or its URL; until then the set works without it")
		return found
	default:
		add(Warning, "cannot be reached: "+err.Error(), "see whether it runs, and whether the network and the credentials let this process in")
		return found
	}
	if twins := n.twins(); len(twins) > 0 {
		add(Danger, "answers with the same run_id as node "+strings.Join(twins, ", ")+", which is not used for that",
			"list each server once; if they are different servers, see which of them copies a run_id")
	}
	if n.alternates(time.Now()) {
		add(Danger, "several servers answer under its name, in turns, so it does not vote", "list each server by a name of its own")
	}
	middle := before.Add(time.Since(before) / 2)
	if n.isCluster {
		add(Warning, "is a Redis Cluster, whose fail-overs may forget its newest grants without a restart", "prefer single servers")
	}
	if f.runID == "" {
		add(Warning, "does not tell its uptime (INFO or TIME refused), so a restart that forgets locks is not seen", "allow both to this user: +info +time")
	} else if n.member.Load() && !n.alternates(time.Now()) && n.quarantined(time.Now()) > 0 {
		add(Note, "restarted lately and may have forgotten locks; its vote does not count yet", "wait; or use appendonly yes with appendfsync always")
	}
	if f.evicts != "" && f.evicts != "noeviction" {
		add(Danger, "evicts keys when its memory is full (maxmemory-policy "+f.evicts+")", "CONFIG SET maxmemory-policy noeviction")
	}
	switch {
	case f.fsyncHidden:
		add(Note, "does not tell appendfsync (CONFIG GET refused), so it is taken for one that may forget locks when it crashes, and does not vote for a quarantine after a restart",
			"allow it to this user: +config|get")
	case f.fsyncPauses && f.fsync == "always":
		add(Note, "does not sync while it rewrites its append-only file (no-appendfsync-on-rewrite yes), so it may forget locks when it crashes",
			"CONFIG SET no-appendfsync-on-rewrite no")
	case !f.fsyncAlways:
		add(Note, "may forget locks when it crashes, so it does not vote for a quarantine after a restart", "appendonly yes with appendfsync always makes it vote at once, at the price of a disk write per lock")
	}
	if f.still {
		add(Danger, "its clock stands still, so no key on it ever expires", "restart the server, and see why its host has no clock that moves")
	}
	if text, fix, found := n.checkFence(time.Now()); found {
		add(Danger, text, fix)
	}
	switch off := f.now.Sub(middle); {
	case !f.now.IsZero() && off > MaxFenceLead+n.c.cfg.MaxTTL: // a fence that starts from it does not count
		add(Danger, fmt.Sprintf("its clock is %v ahead of this machine's, so its grants of keys that are new to it do not count", off.Round(time.Second)),
			"set the clock that is wrong, then run redlock nodes --repair-fences PREFIX for the fence counters that started from it")
	case !f.now.IsZero() && off.Abs() > clockTolerance:
		add(Warning, fmt.Sprintf("its clock is %v from this machine's", off.Round(time.Millisecond)), "keep clocks in step with NTP; tokens stay ordered up to MaxTTL of difference")
	}
	return found
}

func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, err1 := strconv.Atoi(parts[0])
	b, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (a > major || a == major && b >= minor)
}

// Status is the state of one node as this process sees it.
type Status struct {
	Node        string
	Up          bool
	Err         error         // why it is down
	Since       time.Time     // since when it is down
	Votes       bool          // it is up and its grants count
	VotesIn     time.Duration // how long until they do, if it stays up
	TakesTurns  bool          // several servers have answered under its name lately
	Version     string        // "" where it does not say
	Uptime      time.Duration // when it was last connected to
	ClockOffset time.Duration // when it was last connected to: its clock minus ours
}

// Status says how each node does, without asking it anything.
func (c *Cluster) Status() []Status {
	all := make([]Status, len(c.nodes))
	now := time.Now()
	for i, n := range c.nodes {
		s := &all[i]
		n.mu.Lock()
		s.Version, s.Uptime, s.ClockOffset = n.facts.version, n.facts.uptime, n.offset
		n.mu.Unlock()
		s.Node = n.name
		votes := n.votes(now)
		s.VotesIn, s.TakesTurns = n.quarantined(now), n.alternates(now)
		if d := n.down.Load(); d != nil {
			s.Err, s.Since = d.error(), d.since
		} else {
			s.Up, s.Votes = true, votes
		}
	}
	return all
}
