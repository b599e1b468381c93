package cluster

import (
	"crypto/rand"
	"errors"
	"net/url"
	"time"

	"github.com/venta-hq/redlock/internal/marks"
)

// marks are the marks of all nodes, as they were last read; zero of a node that was not met.
func (c *Cluster) marks() (all []mark, texts []string) {
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
func (c *Cluster) names() (all []string) {
	for _, n := range c.nodes {
		all = append(all, url.QueryEscape(n.name))
	}
	return all
}

// nodeNames are the names of the nodes, for a person.
func (c *Cluster) nodeNames() (all []string) {
	for _, n := range c.nodes {
		all = append(all, n.name)
	}
	return all
}

// reckon finds out which record is in force and which nodes belong to the set, after a mark was read that is new. It has nodes
// reconsidered that lack a place which this process can give them.
func (c *Cluster) reckon() {
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

// misplaced reports whether the node lacks a place in the set that this process can give it.
func (n *Node) misplaced() bool {
	r, e := n.c.record.Load(), n.evidence.Load()
	if r == nil || e == nil || e.mark.carries(*r) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.witness.placed(e.mark, stamp{}, rand.Text) != e.mark
}

// refuses is why a node with this mark is none of the nodes that this process lists.
func (c *Cluster) refuses(text string) error {
	m, _ := parseMark(text)
	if m.record == (record{}) || m.record.fits(len(c.nodes), c.Quorum()) {
		return nil
	}
	return &listError{m.record, listing(c.nodeNames(), c.Quorum())}
}

// listError refuses a node that belongs to a set of another size or quorum.
type listError struct {
	of     record
	listed string
}

func (e *listError) Error() string {
	return "belongs to a set of " + e.of.String() + ", and this process lists " + e.listed + "; " + fixList
}

// outside is why the node is none of the set whose record is in force.
func (n *Node) outside() error {
	r, e := n.c.record.Load(), n.evidence.Load()
	switch {
	case r == nil || e == nil || n.member.Load():
		return nil
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

// isListed reports whether err says that a node belongs to a set that this process does not list.
func isListed(err error) bool {
	var list *listError
	return errors.As(err, &list)
}

// strangersError refuses nodes of which too few can belong to one set.
type strangersError struct{ of record }

func (e *strangersError) Error() string {
	return "a node belongs to a set of " + e.of.String() + ", of which too few are listed under these names; " + fixList
}

const fixList = "list those nodes; or, for another set, stop every process that uses them and delete " + marks.Key + " on each"
