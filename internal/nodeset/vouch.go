package nodeset

import (
	"errors"
	"fmt"
	"time"
)

// Vouch lets nodes in quarantine vote at once, because a person has confirmed
// that no lock which they may have lost is held. It returns the names of the
// nodes for which this was necessary. All nodes of the set must answer.
func (c *Set) Vouch() (changed []string, err error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	var wrong []error
	for _, n := range c.nodes {
		switch d, outside := n.down.Load(), n.outside(); {
		case d != nil:
			wrong = append(wrong, &NodeError{n.name, d.error()})
		case outside != nil:
			wrong = append(wrong, &NodeError{n.name, outside})
		case !n.member.Load():
			wrong = append(wrong, &NodeError{n.name, errors.New("has no place in the set yet; try again in a moment")})
		case n.alternates(time.Now()):
			wrong = append(wrong, &NodeError{n.name, errors.New("several servers answer alternately under its name; list each by a name of its own")})
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	for _, n := range c.nodes {
		e := n.evidence.Load()
		if n.votes(time.Now()) || e.mark.state == stateRipe {
			continue
		}
		next := e.mark
		next.state = stateRipe
		if err := n.writeMark(e.text, next.String()); err != nil {
			return changed, &NodeError{n.name, fmt.Errorf("its mark is not written: %w", err)}
		}
		changed = append(changed, n.name)
	}
	return changed, nil
}
