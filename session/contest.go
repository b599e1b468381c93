package session

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// Concurrent calls of LogoutAll may each try to keep another session of one
// user. Each node votes for the session whose request arrives first. It changes
// its vote only to a session that has won, or if the session that it voted for
// has conceded. A session with the votes of a quorum wins. If every node has
// voted and no session has a quorum, the session with the largest hash among
// those with a vote wins.
//
// A node that does not answer may have voted for a rival, and so completed its
// quorum. So no session replaces a rival that may have won, but a rival may
// concede. A session concedes if it has no quorum and knows of a larger one
// with a vote. It leaves a mark on the nodes, which then vote for the largest
// session when it asks again. The largest session with a vote never concedes
// while no rival has a quorum, so one session remains unless a process ends
// halfway.

// standing is the state of a session after one round of a contest.
type standing int

const (
	unanswered standing = iota // too few nodes have answered
	undecided                  // a rival may have won, or concede
	won
	lost
)

// contested counts the votes for the session with this hash and for its rivals.
func (s *Store) contested(hashed string, c count) contested {
	at := contested{nodes: len(s.c.Nodes()), quorum: s.c.Quorum(), answered: c.ok, mine: c.ok, largest: c.ok > 0}
	for rival, nodes := range c.out {
		at.answered += nodes
		at.most = max(at.most, nodes)
		at.largest = at.largest && rival < hashed
	}
	return at
}

// contested is the state of the votes.
type contested struct {
	nodes, quorum, answered int
	mine, most              int  // votes for this session, and for the rival with the most votes
	largest                 bool // this session has a vote, and is larger than all rivals with a vote
}

func decide(c contested) standing {
	switch {
	case c.mine >= c.quorum:
		return won
	case c.answered < c.quorum:
		return unanswered
	case c.largest && c.most >= c.quorum: // the rival with a quorum may not know that it has one, and concede
		return undecided
	case !c.largest:
		return lost
	case c.answered == c.nodes:
		return won
	}
	return undecided
}

// contest decides how a contest continues: it returns nil if the session is to
// be put again, and otherwise the error with which it has ended.
func (p *insertion) contest(ctx context.Context, c count, failed []cluster.NodeError) error {
	s := p.s
	if p.pace == nil {
		p.pace = s.pace()
	}
	at := s.contested(p.hashed, c)
	switch stands := decide(at); {
	case stands == won && p.restarts < maxRestarts:
		p.restarts++
		p.from.rivals += strings.Join(slices.Collect(maps.Keys(c.out)), ",") + ","
		return nil
	case stands == undecided && again(ctx, p.pace):
		return nil
	case stands == lost, stands == undecided && ctx.Err() == nil && at.most >= at.quorum: // the rival had enough time to concede
		return p.gone()
	}
	return &cluster.QuorumError{
		Op: p.op + " session", Key: s.label(p.hashed), Need: s.c.Quorum(), Got: c.ok, Nodes: failed, Err: errs.Ended(ctx),
	}
}

// pace returns the pauses between rounds while a contest is open. They end once
// rivals have had enough time to ask all nodes and to concede.
func (s *Store) pace() backoff.BackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Millisecond),
		backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(3*s.c.Config().NodeTimeout))
}

// again waits before the next round. It reports false if there is none, or ctx
// ends.
func again(ctx context.Context, pace backoff.BackOff) bool {
	pause := pace.NextBackOff()
	if pause == backoff.Stop {
		return false
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
