package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// count is the outcome of a write: the number of nodes by their answer.
type count struct {
	ok, gone, absent int
	out              map[string]int    // nodes where the session ended for a rival, by rival
	stale            int               // nodes that have dropped fields since
	floors           []version         // the floors of those nodes that the put did not name
	none             []answer          // the answers of nodes without the session
	newest           version           // the largest newer version on the nodes that refused
	deadline         string            // the absolute deadline of a session that got a tombstone
	late             string            // the deadline of a session that ends before the idle deadline to be set
	next             string            // the session that has replaced it
	more             map[string]string // additional fields of the predecessor
}

// write is a quorumCall that counts the answers. It ends when a quorum has
// written, or no quorum can write any more.
type write struct {
	*quorumCall
	count count
}

func (s *Store) newWrite(q question) *write {
	q.write = true
	w := &write{quorumCall: s.newQuorumCall(q)}
	quorum := s.c.Quorum()
	w.take = func(r reply) error { return w.count.take(r) }
	w.enough = func() bool { return w.count.ok >= quorum || w.count.ok+w.open < quorum }
	return w
}

// wait returns the counted answers, or an error if ctx ends first.
func (w *write) wait(ctx context.Context) (count, []cluster.NodeError, error) {
	if err := w.s.probe(ctx); err != nil {
		return count{}, nil, err
	}
	if err := w.run(ctx); err != nil {
		return count{}, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count, w.failed, nil
}

func (s *Store) write(ctx context.Context, q question) (count, []cluster.NodeError, error) {
	return s.newWrite(q).wait(ctx)
}

// take counts the answer of one node.
func (c *count) take(r reply) error {
	switch r.status {
	case "ok":
		return c.takeDone(r)
	case "stale":
		c.stale++
		return c.takeMore(r)
	case "gone":
		return c.takeGone(r)
	case "absent":
		c.absent++
	case "none":
		c.absent++
		c.none = append(c.none, answer{node: r.node.Index(), memory: r.memory})
	case "out":
		return c.takeRival(r)
	case "late":
		return c.takeLate(r)
	case "newer":
		return c.takeNewer(r)
	case "memory":
		return errForgot
	default:
		return fmt.Errorf("unexpected answer %q", r.status)
	}
	return nil
}

func (c *count) takeDone(r reply) error {
	deadline, next := r.word(0), r.word(1)
	if deadline != "" && !isTime(deadline, timeWidth) || next != "" && !valid(next) {
		return errForeign
	}
	c.ok++
	c.deadline, c.next = max(c.deadline, deadline), max(c.next, next)
	return c.takeMore(r)
}

func (c *count) takeGone(r reply) error {
	if err := checkEpoch(r.word(0), time.Now()); err != nil {
		return err
	}
	c.gone++
	return nil
}

func (c *count) takeRival(r reply) error {
	rival := r.word(0)
	if !valid(rival) {
		return errForeign
	}
	if err := checkEpoch(r.word(1), time.Now()); err != nil {
		return err
	}
	if c.out == nil {
		c.out = map[string]int{}
	}
	c.out[rival]++
	return nil
}

func (c *count) takeLate(r reply) error {
	if !isTime(r.word(0), timeWidth) {
		return errForeign
	}
	c.late = r.word(0)
	return nil
}

func (c *count) takeNewer(r reply) error {
	if err := checkVersion(r.word(0), latest(time.Now())); err != nil {
		return err
	}
	c.newest = max(c.newest, r.word(0))
	return nil
}

// takeMore adds the additional fields and the floor that a node returned.
func (c *count) takeMore(r reply) error {
	if len(r.rest) < 3 {
		return nil
	}
	more, _ := r.rest[2].([]any)
	latest := latest(time.Now())
	for i := 1; i < len(more); i += 2 {
		name, _ := more[i-1].(string)
		value, _ := more[i].(string)
		if err := checkField(name, value, latest); err != nil {
			return err
		}
		if name == floorField {
			c.floors = append(c.floors, value[:versionWidth])
			continue
		}
		if c.more == nil {
			c.more = map[string]string{}
		}
		if have := c.more[name]; have == "" || have[:versionWidth] < value[:versionWidth] {
			c.more[name] = value
		}
	}
	return nil
}

// errForgot is the error of a node that did not write because it has lost its
// data.
var errForgot = errors.New("it has lost its data and started again")
