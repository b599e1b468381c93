package session

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Several sessions of a user may be the one to be kept alone at the same time. Each node takes the first that it hears of, and
// changes its mind for one that has won, or when the one it took has conceded. The session wins that has a quorum; else, where
// every node has answered, the largest hash of those who have a node.
//
// Where a node is missing, it may have given another its quorum. So nobody takes the place of a rival that may have won, but
// a rival may concede: whoever has no quorum, and knows a larger one that has a node, does. It says so on the nodes, and
// they take the largest when it asks again. The largest of those who have a node never concedes while no rival has a quorum,
// so unless a process ends halfway one session is left.

// standing is how a session stands after one round of a contest.
type standing int

const (
	unheard   standing = iota // too few nodes have answered
	undecided                 // a rival may have won, or concede
	won
	lost
)

// contested counts what the nodes have answered to a session that is to be kept alone.
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
		return unheard
	case c.largest && c.most >= c.quorum: // the rival that has a quorum may not know that, and concede
		return undecided
	case !c.largest:
		return lost
	case c.answered == c.nodes:
		return won
	}
	return undecided
}

// pace is when a session asks again while its contest is open. It ends once rivals have had the time to ask all nodes and to
// concede.
func (s *Store) pace() backoff.BackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Millisecond),
		backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(3*s.c.Config().NodeTimeout))
}

// again waits before the next round. It reports false if there is none, or ctx ends.
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
