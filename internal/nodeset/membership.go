package nodeset

import (
	"crypto/rand"
	"errors"
	"net/url"
	"time"

	"github.com/venta-hq/redlock/internal/marks"
)

// marks are the marks of all nodes, as they were last read; zero of a node that
// was not met.
func (c *Set) marks() (all []mark, texts []string) {
	for _, n := range c.nodes {
		e := n.evidence.Load()
		if e == nil {
			e = &evidence{}
		}
		all, texts = append(all, e.mark), append(texts, e.text)
	}
	return all, texts
}

// names are what this process calls the nodes, as records have it.
func (c *Set) names() (all []string) {
	for _, n := range c.nodes {
		all = append(all, url.QueryEscape(n.name))
	}
	return all
}

// nodeNames are the names of the nodes, for a person.
func (c *Set) nodeNames() (all []string) {
	for _, n := range c.nodes {
		all = append(all, n.name)
	}
	return all
}

// reckon finds out which record is in force and which nodes belong to the set,
// after a mark was read that is new. It has nodes reconsidered that lack a
// place which this process can give them.
func (c *Set) reckon() {
	c.reckoning.Lock()
	defer c.reckoning.Unlock()
	all, _ := c.marks()
	r, ok := inForce(all, c.Quorum())
	known := c.record.Load()
	switch {
	case ok && known != nil && *known != r: // of votes under the one and under the other no quorum is made
		c.changed.Store(c.since(time.Now()) + int64(c.quarantine()))
		c.record.Store(&r)
	case ok:
		c.record.Store(&r)
	case known != nil:
		r = *known
	default:
		return
	}
	whole := true
	for i, n := range c.nodes {
		n.mu.Lock()
		n.witness.knows(r, all, i)
		n.mu.Unlock()
		n.member.Store(belongs(all, i, r))
		switch err := n.outside(); {
		case n.misplaced():
			n.reconsider()
		case err != nil && all[i].memory != "":
			n.trip(err)
		}
		whole = whole && (n.member.Load() || n.down.Load() != nil || all[i].memory == "")
	}
	if whole {
		c.settle(nil)
	}
}

// misplaced reports whether the node lacks a place in the set that this process
// can give it.
func (n *Node) misplaced() bool {
	r, e := n.c.record.Load(), n.evidence.Load()
	if r == nil || e == nil || e.mark.carries(*r) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.witness.placed(e.mark, stamp{}, rand.Text) != e.mark
}

// refuses is why a node with this mark is none of the nodes that this process
// lists.
func (c *Set) refuses(text string) error {
	m, _ := parseMark(text)
	if m.record == (record{}) || m.fits(len(c.nodes), c.Quorum()) {
		return nil
	}
	for _, n := range c.nodes {
		n.mu.Lock()
		n.witness.heard(m)
		n.mu.Unlock()
	}
	if r := c.record.Load(); r != nil && r.set == m.record.set && r.epoch > m.record.epoch {
		return nil // it was away while the set was resized, and is brought up to date
	}
	return c.misfit(m)
}

// takenOut is an error if a node that is listed was removed from the set: this
// process has the list of before.
func (c *Set) takenOut() error {
	r := c.record.Load()
	for _, n := range c.nodes {
		e := n.evidence.Load()
		if e != nil && e.mark.final && (r == nil || *r == e.mark.record) && e.mark.removed() {
			return &NodeError{n.name, c.misfit(e.mark)}
		}
	}
	return nil
}

// listError refuses a node that belongs to a set of another size or quorum, or
// was removed from one.
type listError struct {
	of      record
	removed bool
	listed  string
}

// misfit is why a node with this mark is none of those that are listed.
func (c *Set) misfit(m mark) error {
	return &listError{m.record, m.final && m.removed(), listing(c.nodeNames(), c.Quorum())}
}

func (e *listError) Error() string {
	listed := e.of.String() + ", and this process lists " + e.listed + "; "
	const fixProcess = "give it the new list, and restart it; or, "
	switch {
	case e.removed:
		return "was removed from a set that was resized to " + listed + fixProcess + "to use the node in another set, delete " + marks.Key + " on it"
	case e.of.epoch > 0:
		return "belongs to a set that was resized to " + listed + fixProcess + fixForeign
	}
	return "belongs to a set of " + listed + fixList
}

// outside is why the node is none of the set whose record is in force.
func (n *Node) outside() error {
	r, e := n.c.record.Load(), n.evidence.Load()
	switch {
	case r == nil || e == nil || n.member.Load():
		return nil
	case e.mark.final && e.mark.record.set == r.set && !e.mark.fits(len(n.c.nodes), n.c.Quorum()):
		return n.c.misfit(e.mark)
	case e.mark.final && e.mark.record == *r && !r.has(e.mark.id): // it is removed
		return n.c.misfit(e.mark)
	case e.mark.carries(*r):
		return &placeError{"has the place of " + unescaped(e.mark.id) + " in the set, as another node that is listed: they are one server, " +
			"or one has the other's data; list each server once, and empty one that is a copy (FLUSHALL)"}
	case e.mark.final:
		return &placeError{"belongs to another set, of " + e.mark.record.String() + ", than most nodes that are listed, which are of " + r.String() + "; " + fixList}
	}
	if n.misplaced() {
		return nil // it is given its place
	}
	return &placeError{"has no place in the set of " + r.String() + "; list it by the name that it has there"}
}

// placeError refuses a node that is none of the set.
type placeError struct{ why string }

func (e *placeError) Error() string { return e.why }

// isListed reports whether err says that a node belongs to a set that this
// process does not list.
func isListed(err error) bool {
	var list *listError
	return errors.As(err, &list)
}

// strangersError refuses nodes of which too few can belong to one set.
type strangersError struct{ of record }

func (e *strangersError) Error() string {
	return "a node belongs to a set of " + e.of.String() + ", of which too few are listed under these names; " + fixList
}

const (
	fixForeign = "for another set, stop every process that uses those nodes and delete " + marks.Key + " on each"
	fixList    = "list those nodes; or, " + fixForeign
)

// How far a resize has come, as the metric has it.
const (
	stageNone = iota
	stageProposed
	stageJoint
)

// resizeStage is how far a resize of the set has come on any node that was met.
func (c *Set) resizeStage() (stage int, from, to record) {
	all, _ := c.marks()
	for _, m := range all {
		switch {
		case m.was != (record{}):
			return stageJoint, m.was, m.record
		case m.to != (record{}):
			stage, from, to = stageProposed, m.record, m.to
		}
	}
	return stage, from, to
}
