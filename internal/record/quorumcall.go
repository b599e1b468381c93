package record

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// ErrOvertaken is returned to a writer whose token is no longer the newest: so
// many nodes know of a newer one that it cannot reach a quorum.
var ErrOvertaken = errors.New("redlock: overtaken by a newer token")

// quorumCall sends all nodes one command and waits until enough have answered.
type quorumCall struct {
	c      *nodeset.Set
	op     string // for errors
	key    Key
	quorum int
	enough func() bool                                                 // asked after each answer, under mu
	take   func(n *nodeset.Node, reply any) (accepted bool, err error) // takes in an answer, under mu

	mu                sync.Mutex
	open              int
	accepted, refused int
	failed            []nodeset.NodeError
	ended             bool
	done              chan struct{}
}

func newQuorumCall(c *nodeset.Set, op string, key Key) *quorumCall {
	return &quorumCall{c: c, op: op, key: key, quorum: c.Quorum(), open: len(c.Nodes()), done: make(chan struct{})}
}

// Receive implements nodeset.Receiver. Answers that come after the quorumCall
// has ended are dropped.
func (p *quorumCall) Receive(n *nodeset.Node, reply any, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.open--
	accepted := false
	if err == nil {
		accepted, err = p.take(n, reply)
	}
	switch {
	case err != nil:
		p.failed = append(p.failed, nodeset.NodeError{Node: n.Name(), Err: err})
	case accepted:
		p.accepted++
	default:
		p.refused++
	}
	if p.enough() || p.open == 0 {
		p.ended = true
		close(p.done)
	}
}

// overtaken reports whether so many nodes refused that no quorum is left.
func (p *quorumCall) overtaken() bool { return p.refused > len(p.c.Nodes())-p.quorum }

// wait returns once enough nodes have answered, or with a *nodeset.QuorumError
// that has ctx.Err() in its chain once ctx has ended.
func (p *quorumCall) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		short := p.short(p.accepted)
		short.Err = errs.Ended(ctx)
		return short
	}
}

// failure is the error of a call in which got nodes, fewer than a quorum, did
// what was asked. p.mu is held.
func (p *quorumCall) failure(got int) error {
	if p.overtaken() {
		return p.wrap(ErrOvertaken)
	}
	if err := p.unusable(); err != nil {
		return err
	}
	return p.short(got)
}

// short is the error of a call in which got nodes, so far, did what was asked.
// p.mu is held.
func (p *quorumCall) short(got int) *nodeset.QuorumError {
	return &nodeset.QuorumError{Op: p.op, Key: p.key.Name, Need: p.quorum, Got: got, Nodes: slices.Clone(p.failed)}
}

func (p *quorumCall) wrap(err error) error {
	return errs.Errorf("redlock: %s %q: %w", p.op, p.key.Name, err)
}

// unusable is the error if so many nodes hold other data in place of the
// record, or deny it to this user, that no quorum is left: waiting does not
// change that. It matches nodeset.ErrConfig.
func (p *quorumCall) unusable() error {
	foreign, denied := 0, 0
	var why error
	for _, f := range p.failed {
		switch {
		case nodeset.Unsent(f.Err):
			continue
		case errors.Is(f.Err, errForeign), strings.Contains(f.Err.Error(), "WRONGTYPE"):
			foreign++
		case strings.Contains(f.Err.Error(), "NOPERM"):
			denied++
		default:
			continue
		}
		why = cmp.Or(why, f.Err)
	}
	if len(p.c.Nodes())-foreign-denied >= p.quorum {
		return nil
	}
	return fmt.Errorf("%w: the record of %q: %d nodes hold something else under %s, which must be deleted there, and %d deny it to this user: %w",
		nodeset.ErrConfig, p.key.Name, foreign, p.key.onNode()[0], denied, why)
}
