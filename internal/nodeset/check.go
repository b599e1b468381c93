package nodeset

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// clockTolerance is the offset between a node's clock and ours above which
// Check reports it.
const clockTolerance = 500 * time.Millisecond

// Check looks for anything that makes locks on the nodes unsafe: how a node is
// reached, its role, eviction policy, persistence, clock, version, restarts,
// and what a restart would drop. It returns the findings about the set, then
// those about each node in order; it returns none if all is well. It changes
// nothing, and takes at most a few NodeTimeouts.
func (c *Set) Check(ctx context.Context) []Finding {
	perNode := make([][]Finding, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { perNode[i] = n.check(ctx) })
	}
	wg.Wait()
	found := slices.Concat(c.checkSet(), c.checkRecord(), c.checkRestarts(time.Now()))
	for _, f := range perNode {
		found = append(found, f...)
	}
	return found
}

func (c *Set) checkSet() []Finding {
	switch n := len(c.nodes); {
	case n == 1:
		return []Finding{{Severity: Warning, Text: "there is only one node", Fix: "locks stop when it stops; use 3, 5 or 7", Runbook: RunbookSize}}
	case n%2 == 0:
		return []Finding{{Severity: Warning, Text: fmt.Sprintf("%d nodes tolerate no more failures than %d", n, n-1), Fix: "use an odd number", Runbook: RunbookSize}}
	}
	return nil
}

// checkRecord looks whether the nodes are a set.
func (c *Set) checkRecord() []Finding {
	if c.record.Load() != nil {
		return c.checkResize()
	}
	all, _ := c.marks()
	if _, err := c.planFor(all); err != nil {
		return []Finding{{Severity: Danger, Text: err.Error(), Fix: "this process lists " + listing(c.nodeNames(), c.Quorum()), Runbook: RunbookLists}}
	}
	met := len(slices.DeleteFunc(memoriesOf(all), func(memory string) bool { return memory == "" }))
	if met < c.Quorum() && slices.ContainsFunc(all, func(m mark) bool { return m.final }) {
		return []Finding{{
			Severity: Warning, Text: fmt.Sprintf("nothing can be locked from this machine: %d of %d nodes could be asked, and a quorum is %d", met, len(c.nodes), c.Quorum()),
			Fix: "start the others, first those that kept their data", Runbook: RunbookNoQuorum,
		}}
	}
	return []Finding{{
		Severity: Warning, Text: "the set is not bootstrapped yet, so nothing can be locked: a process that is to lock bootstraps it once it has met all nodes, or a quorum of them for " + c.quarantine().String(),
		Fix: "start a program that locks, such as redlock run KEY -- CMD, and see which nodes are down", Runbook: RunbookBootstrap,
	}}
}

// checkResize looks whether the set is between two sizes.
func (c *Set) checkResize() []Finding {
	stage, from, to := c.resizeStage()
	f := Finding{Severity: Warning, Fix: "finish it: redlock resize", Runbook: RunbookResize}
	switch stage {
	case stageNone:
		return nil
	case stageProposed:
		f.Text = fmt.Sprintf("a resize from %s to %s was proposed, and is not in effect yet", from, to)
		f.Fix += "; or, if no redlock resize runs on these nodes anywhere, take it back: redlock resize --cancel --alone"
	case stageJoint:
		f.Text = fmt.Sprintf("the set is being resized from %s to %s: both lists are in effect", from, to)
	}
	return []Finding{f}
}

// nodeFindings is what Check has found of one node.
type nodeFindings struct {
	node string
	all  []Finding
}

func (f *nodeFindings) add(r Runbook, s Severity, text, fix string) {
	f.all = append(f.all, Finding{f.node, s, text, fix, r})
}

func (n *Node) check(ctx context.Context) []Finding {
	found := &nodeFindings{node: n.name}
	before := time.Now()
	var f facts
	var err error
	if d := n.down.Load(); d != nil {
		err = d.error() // it is being tried all the time
	} else {
		n.question(ctx, func(ctx context.Context) { f, err = askFacts(ctx, n.client) })
	}
	switch {
	case err == nil:
	case isListed(err):
		found.add(RunbookLists, Danger, "cannot be used: "+err.Error(), "give all processes one list; until then the set works without it, if at all")
		return found.all
	case Unusable(err):
		found.add(RunbookUnusable, Danger, "cannot be used: "+err.Error(), "fix the server, or its URL; until then the set works without it")
		return found.all
	default:
		found.add(RunbookDown, Warning, "cannot be reached: "+err.Error(), "see whether it runs, and whether the network and the credentials let this process in")
		return found.all
	}
	middle := before.Add(time.Since(before) / 2)
	n.question(ctx, n.lookSeveralTimes)
	n.checkServer(found)
	n.checkVote(found, f)
	f.checkMemory(found)
	n.question(ctx, func(ctx context.Context) { n.checkReplay(ctx, found, f) })
	n.checkClock(found, f, middle)
	return found.all
}

// question gives each question of Check its own timeout, so that a slow answer
// to one does not look like a refusal of the next.
func (n *Node) question(ctx context.Context, ask func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, 2*n.c.cfg.NodeTimeout)
	defer cancel()
	ask(ctx)
}

// checkServer looks which servers are behind the node's name.
func (n *Node) checkServer(found *nodeFindings) {
	if twins := n.twins(); len(twins) > 0 {
		found.add(RunbookServers, Danger, "answers with the same run_id as node "+strings.Join(twins, ", ")+", which is not used for that",
			"list each server once; if they are different servers, see which of them copies a run_id")
	}
	if n.alternates(time.Now()) {
		found.add(RunbookServers, Danger, "several servers answer alternately under its name, so it does not vote", "list each server by a name of its own")
	}
	if n.isCluster {
		found.add(RunbookMemory, Warning, "is a Redis Cluster, whose failovers may lose its newest grants without a restart", "prefer single servers")
	}
}

// looks is how many connections Check makes to see whether one server answers
// under a name.
const looks = 4

// lookSeveralTimes makes connections to the node at the same time; [Node.learn]
// notices if servers answer alternately.
func (n *Node) lookSeveralTimes(ctx context.Context) {
	client, single := n.client.(*redis.Client)
	if !single || n.canFailOver {
		return
	}
	conns := make([]*redis.Conn, looks)
	for i := range conns { // one after another, so that a server that answered before answers again
		conns[i] = client.Conn()
		_ = conns[i].Ping(ctx).Err()
	}
	for _, cn := range conns {
		_ = cn.Close()
	}
}

// checkVote checks whether restarts of the node are noticed, and whether one
// was.
func (n *Node) checkVote(found *nodeFindings, f facts) {
	if f.runID == "" {
		found.add(RunbookRights, Warning, "does not report its uptime (INFO or TIME refused), so a restart that loses locks goes unnoticed", "allow both to this user: +info +time")
	} else if in := n.quarantined(time.Now()); n.member.Load() && !n.alternates(time.Now()) && in > 0 {
		found.add(RunbookRestart, Note, fmt.Sprintf("restarted recently and may have lost locks; its vote counts again in %v", in.Round(time.Second)),
			"wait before the next node is restarted; or use appendonly yes with appendfsync always")
	}
}

// checkMemory checks whether the server keeps its data.
func (f facts) checkMemory(found *nodeFindings) {
	if f.evicts != "" && f.evicts != "noeviction" {
		found.add(RunbookMemory, Danger, "evicts keys when its memory is full (maxmemory-policy "+f.evicts+")", "CONFIG SET maxmemory-policy noeviction")
	}
	switch {
	case f.fsyncHidden:
		found.add(RunbookRights, Note, "does not report appendfsync (CONFIG GET refused), so it counts as a node that may lose locks when it crashes, and does not vote after a restart until a quarantine is over",
			"allow it to this user: +config|get")
	case f.fsyncPauses && f.fsync == "always":
		found.add(RunbookMemory, Note, "does not sync while it rewrites its append-only file (no-appendfsync-on-rewrite yes), so it may lose locks when it crashes",
			"CONFIG SET no-appendfsync-on-rewrite no")
	case !f.fsyncAlways:
		found.add(RunbookMemory, Note, "may lose locks when it crashes, so it does not vote after a restart until a quarantine is over", "appendonly yes with appendfsync always makes it vote at once, at the price of a disk write per lock")
	}
}

// checkClock checks the server's clock, read when ours showed middle, and fence
// counters that started from it.
func (n *Node) checkClock(found *nodeFindings, f facts, middle time.Time) {
	if f.still {
		found.add(RunbookClock, Danger, "its clock stands still, so no key on it ever expires", "restart the server, and find out why the clock of its host stands still")
	}
	n.checkJump(found, f)
	if text, fix, beyond := n.checkFence(time.Now()); beyond {
		found.add(RunbookFence, Danger, text, fix)
	}
	switch off := f.now.Sub(middle); {
	case !f.now.IsZero() && off > MaxFenceLead+n.c.cfg.MaxTTL: // a fence that starts from it does not count
		found.add(RunbookClock, Danger, fmt.Sprintf("its clock is %v ahead of this machine's, so its grants of keys that are new to it do not count", off.Round(time.Second)),
			"set the clock that is wrong, then run redlock nodes --repair-fences PREFIX for the fence counters that started from it")
	case !f.now.IsZero() && off.Abs() > clockTolerance:
		found.add(RunbookClock, Warning, fmt.Sprintf("its clock is %v from this machine's", off.Round(time.Millisecond)), "keep clocks in step with NTP; tokens stay ordered up to MaxTTL of difference")
	}
}

// atLeast compares versions by their numbers. One that is malformed as far as
// it is looked at is none.
func atLeast(version string, want ...int) bool {
	parts := strings.Split(version, ".")
	for i, number := range want {
		if i >= len(parts) {
			return false
		}
		if got, err := strconv.Atoi(parts[i]); err != nil || got != number {
			return err == nil && got > number
		}
	}
	return true
}

// Status is the state of one node as this process sees it.
type Status struct {
	Node        string
	Up          bool
	Err         error         // why it is down
	Since       time.Time     // since when it is down
	Votes       bool          // it is up and its grants count
	VotesIn     time.Duration // how long until they do, if it and a quorum stay up
	New         bool          // it is in no set, and was in none: the first process that locks makes new nodes one
	TakesTurns  bool          // several servers have answered under its name lately
	Version     string        // "" where it does not say
	Uptime      time.Duration // when it was last connected to
	ClockOffset time.Duration // when it was last connected to: its clock minus ours
}

// unused reports whether the node is in no set yet, and was in none before.
func (n *Node) unused() bool {
	e := n.evidence.Load()
	return e != nil && e.mark.unused()
}

// Status says how each node does, without asking it anything.
func (c *Set) Status() []Status {
	all := make([]Status, len(c.nodes))
	now := time.Now()
	for i, n := range c.nodes {
		s := &all[i]
		n.mu.Lock()
		s.Version, s.Uptime, s.ClockOffset = n.facts.version, n.facts.uptime, n.offset
		n.mu.Unlock()
		s.Node = n.name
		votes := n.votes(now)
		s.VotesIn, s.TakesTurns, s.New = n.quarantined(now), n.alternates(now), n.unused()
		if d := n.down.Load(); d != nil {
			s.Err, s.Since = d.error(), d.since
		} else {
			s.Up, s.Votes = true, votes
		}
	}
	return all
}
