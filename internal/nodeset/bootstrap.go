package nodeset

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/marks"
)

// The nodes define their set: each carries the set's record in its mark, and a
// vote counts only under the record that a quorum of them carries. A set
// without a record is bootstrapped by the process that opens it. A node without
// a mark may have granted locks before: a node that has lost everything has no
// mark either. So new nodes vote at once only if a process that knew none of
// them found them all without a mark, and if no process that knew one connects
// within a grace period. Every process keeps a connection to each node, and
// notices at once when a node has lost everything.

// bootstrapPlan is how nodes, of which no record is in force, become a set.
type bootstrapPlan struct {
	next []mark // of each node; the zero mark is for nodes that stay as they are

	// A complete set of new nodes is bootstrapped after the grace, or at once
	// if its nodes are made; a set with a missing node after the quarantine;
	// any other set at once, and its nodes vote after their quarantine.
	whole  bool // all nodes were met, and nothing was ever granted on them, so they vote at once
	made   bool // and who made them says that nobody knew them
	absent bool // a node was not met
}

// order is the nodes that get another mark. The order is the same in every
// process: if several processes bootstrap one set in different ways, the one
// that writes the first mark continues, and the others fail.
func (f bootstrapPlan) order() (nodes []int) {
	for i, m := range f.next {
		if m != (mark{}) {
			nodes = append(nodes, i)
		}
	}
	slices.SortFunc(nodes, func(a, b int) int { return strings.Compare(f.next[a].memory, f.next[b].memory) })
	return nodes
}

// planBootstrap plans how the nodes with these marks become a set: first each
// gets the record as a proposal, and then all that were met get it as final. So
// only one of several overlapping lists is bootstrapped, and an interrupted
// bootstrap is continued. marks are zero for nodes that were not met. It
// returns a *strangersError if nodes carry records of sets that these nodes
// cannot form.
func planBootstrap(all []mark, names []string, quorum int) (bootstrapPlan, error) {
	f := bootstrapPlan{next: make([]mark, len(all)), whole: true, made: true}
	r, ok := recordAmong(all)
	if fresh := newRecord(names, memoriesOf(all), quorum); !ok {
		r = fresh
	} else {
		f.whole = r.set == fresh.set
	}
	seen := f.count(all, r)
	added := f.advance(all, names, r, seen)
	if seen.able+added < quorum {
		return bootstrapPlan{}, &strangersError{r}
	}
	if seen.met < quorum { // those that were not met may be a set
		clear(f.next)
	}
	return f, nil
}

// bootstrapCount is what the marks come to.
type bootstrapCount struct {
	met      int             // nodes
	able     int             // nodes that carry the record, or may: they were not met
	taken    map[string]bool // places that the record gives, by name
	proposed bool            // no node that was met lacks the record
}

// count looks at all marks, and sees what kind of set they make under r.
func (f *bootstrapPlan) count(all []mark, r record) bootstrapCount {
	c := bootstrapCount{taken: map[string]bool{}, proposed: true}
	for _, m := range all {
		if m.memory != "" {
			c.met++
		}
		f.absent = f.absent || m.memory == ""
		f.whole = f.whole && (m.unused() || m.state == stateRipe && m.record == r)
		f.made = f.made && m.state != stateNew
		if m.record == r {
			c.taken[m.id] = true
		} else if m.memory != "" && !m.final {
			c.proposed = false
		}
		if m.record == r || m.memory == "" {
			c.able++
		}
	}
	f.whole = f.whole && !f.absent
	return c
}

// advance is the next mark of each node: final where all that were met have the
// record, else a proposal of it. It returns how many nodes get a place by that.
func (f *bootstrapPlan) advance(all []mark, names []string, r record, seen bootstrapCount) (added int) {
	for i, m := range all {
		switch {
		case m.memory == "" || m.final:
			continue
		case seen.proposed:
			m.final = true
			if m.state = m.state.added(); f.whole {
				m.state = stateRipe
			}
		case m.record == r || seen.taken[names[i]] || !slices.Contains(r.members(), names[i]):
			continue
		default:
			added++
			if m.id, m.record = names[i], r; !f.whole {
				m.state = m.state.added()
			}
		}
		f.next[i] = m
	}
	return added
}

func memoriesOf(all []mark) (memories []string) {
	for _, m := range all {
		memories = append(memories, m.memory)
	}
	return memories
}

// recordAmong is the record that a set without one in force is to have, if its
// nodes carry some: a final one, or else the first of those that were proposed,
// in an order that is the same for everybody.
func recordAmong(all []mark) (r record, ok bool) {
	final := false
	for _, m := range all {
		switch {
		case m.record == (record{}) || final && !m.final:
		case !ok || m.final && !final || m.record.set < r.set || m.record.set == r.set && m.record.epoch > r.epoch:
			r, ok, final = m.record, true, m.final
		}
	}
	return r, ok
}

// grace is how long a set of new nodes waits for processes that knew them: more
// than it takes one to find its mailbox dead, or to try again, and then to
// connect, if the network answers within a second.
func (c *Set) grace() time.Duration { return 2*mailEvery + 3*min(c.cfg.NodeTimeout, time.Second) }

// startBootstrap sees to it that the set has a record, once Open has tried all
// nodes.
func (c *Set) startBootstrap() {
	if c.cfg.Partial { // it only looks
		c.settle(nil)
		return
	}
	if c.opened.Load() && c.record.Load() == nil && c.bootstrapping.CompareAndSwap(false, true) && !c.spawn(c.bootstrap) {
		c.settle(nil)
	}
}

// settle ends the wait of Open for the set to have a record. err is why it can
// have none.
func (c *Set) settle(err error) {
	c.settling.Do(func() {
		c.unfit = err
		close(c.settled)
	})
}

// bootstrap gives the set a record, unless another process does.
func (c *Set) bootstrap() {
	defer c.logQuorumChange()
	var since time.Time // when the nodes were first seen with the memories that they have
	var seen []string
	said := false
	for pace := newPace(); c.record.Load() == nil; {
		all, texts := c.marks()
		if memories := memoriesOf(all); !slices.Equal(seen, memories) {
			since, seen = time.Now(), memories
		}
		wait := pace.NextBackOff()
		f, err := c.planFor(all)
		left := time.Until(since.Add(c.bootstrapDue(f, err)))
		switch {
		case err != nil && left > 0: // somebody may be giving nodes their places, which this process calls by other names
			wait = min(wait, left)
		case err != nil && !said:
			c.Say(slog.LevelError, "the nodes do not form a set", "error", err, "listed", listing(c.nodeNames(), c.Quorum()))
			c.settle(err)
			said = true
		case err != nil:
		case left > 0:
			if wait = min(wait, left); left > c.grace() {
				c.settle(nil) // it takes long
			}
		case c.writeMarks(f, texts):
			continue // what was proposed is made final
		}
		if c.record.Load() == nil && !c.pause(wait) {
			return
		}
	}
}

// planFor is planBootstrap for the nodes that this process lists. A node that
// belongs to another set keeps them from it.
func (c *Set) planFor(all []mark) (bootstrapPlan, error) {
	for _, n := range c.nodes {
		if d := n.down.Load(); d != nil && isListed(d.error()) {
			return bootstrapPlan{}, &NodeError{n.name, d.error()}
		}
	}
	f, err := planBootstrap(asListed(all, c.Quorum()), c.names(), c.Quorum())
	f.keepStep(all)
	return f, err
}

// keepStep has nodes that become final hold the step that others of their set
// have come to: while two sizes count, both do.
func (f *bootstrapPlan) keepStep(all []mark) {
	for i := range f.next {
		next, top := &f.next[i], step{}
		for _, m := range all {
			if m.final && next.final && m.record.set == next.record.set && (top == (step{}) || m.step().above(top)) {
				top = m.step()
			}
		}
		if top != (step{}) {
			next.record, next.was = top.record, top.was
		}
	}
}

// asListed is the marks as a process reads them whose list is that of a set
// before it was resized, or after.
func asListed(all []mark, quorum int) []mark {
	all = slices.Clone(all)
	for i, m := range all {
		if !m.record.fits(len(all), quorum) && m.fits(len(all), quorum) {
			all[i].record = m.was
		}
		all[i].was, all[i].to = record{}, record{}
	}
	return all
}

// bootstrapDue is how long after this process has begun to look it may
// bootstrap the set, or say that it cannot.
func (c *Set) bootstrapDue(f bootstrapPlan, err error) time.Duration {
	switch {
	case isListed(err):
		return 0
	case err != nil:
		return c.grace()
	case f.absent:
		return c.quarantine()
	case f.whole && !f.made:
		return c.grace()
	}
	return 0
}

// writeMarks writes the marks of a bootstrap, one after another, and reports
// whether all were written.
func (c *Set) writeMarks(f bootstrapPlan, texts []string) (all bool) {
	defer c.reckon()
	order := f.order()
	for _, i := range order {
		n, next := c.nodes[i], f.next[i]
		if n.writeMark(texts[i], next.String()) != nil {
			return false
		}
	}
	return len(order) > 0
}

// writeMark writes a mark, unless the node has another than this process has
// seen. It ends by itself, as every step of it is bounded by NodeTimeout.
func (n *Node) writeMark(old, next string) error {
	text, err := n.client.Eval(n.c.ctx, swapMark, []string{marks.Key}, old, next).Text()
	if err != nil {
		return err
	}
	if text != next {
		n.proved(text) // takes it in if it is this node's: it may be one that the server has copied
		return errChanged
	}
	n.saw(text)
	return nil
}

// awaitBootstrap waits until it is known whether the set has a record, but not
// for long. It returns an error where the nodes can have none.
func (c *Set) awaitBootstrap(ctx context.Context) error {
	patience := time.NewTimer(2*c.grace() + 2*c.cfg.NodeTimeout)
	defer patience.Stop()
	select {
	case <-c.settled:
		if c.unfit != nil && !c.cfg.Partial {
			return fmt.Errorf("%w: %w; this process lists %s", ErrConfig, c.unfit, listing(c.nodeNames(), c.Quorum()))
		}
	case <-patience.C:
	case <-ctx.Done():
	}
	if err := c.takenOut(); err != nil && !c.cfg.Partial {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}
