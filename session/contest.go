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

// Several sessions of a user may be the one to be kept alone at the same time.
// Each node takes the first whose request arrives. It changes its mind for one
// that has won, or when the one it took has conceded. The session with a quorum
// wins. If none has one and every node has answered, the largest hash of the
// sessions that have a node does.
//
// A node that is missing may have given another session its quorum. So none
// takes the place of a rival that may have won, but a rival may concede: a
// session does that has no quorum and knows a larger one that has a node. It
// leaves a mark on the nodes, which take the largest when that asks again. The
// largest session that has a node never concedes while no rival has a quorum,
// so one session is left unless a process ends halfway.

// standing is the state of a session after one round of a contest.
type standing int

const (
	unanswered standing = iota // too few nodes have answered
	undecided                  // a rival may have won, or concede
	won
	lost
)

// contested counts the answers to a session that is to be kept alone.
func (s *Store) contested(hashed string, c count) contested {
	at := contested{nodes: len(s.c.Nodes()), quorum: s.c.Quorum(), answered: c.ok, mine: c.ok, largest: c.ok > 0}
	for rival, nodes := range c.out {
		at.answered += nodes
		at.most = max(at.most, nodes)
		at.largest = at.largest && rival < hashed
	}
	return at
}

// contested is what the nodes have answered.
type contested struct {
	nodes, quorum, answered int
	mine, most              int  // how many have taken this session, and the rival that most have taken
	largest                 bool // this session has a node, and is larger than all rivals that have one
}

func decide(c contested) standing {
	switch {
	case c.mine >= c.quorum:
		return won
	case c.answered < c.quorum:
		return unanswered
	case c.largest && c.most >= c.quorum: // the rival that has a quorum may not know that, and concede
		return undecided
	case !c.largest:
		return lost
	case c.answered == c.nodes:
		return won
	}
	return undecided
}

// contest decides for a session to be kept alone what to do about rivals: nil
// to put it again, or the error with which it has ended.
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
	case stands == lost, stands == undecided && ctx.Err() == nil && at.most >= at.quorum: // the rival had the time to concede
		return p.gone()
	}
	return &cluster.QuorumError{
		Op: p.op + " session", Key: s.label(p.hashed), Need: s.c.Quorum(), Got: c.ok, Nodes: failed, Err: errs.Ended(ctx),
	}
}

// pace returns the pauses between rounds while a contest is open. They end once
// rivals have had the time to ask all nodes and to concede.
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
