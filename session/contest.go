package session

import (
	"context"
	"time"
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

// contest says whether a session is the one to be kept alone.
func (s *Store) contest(hashed string, c count) standing {
	answered, most, largest := c.ok, 0, c.ok > 0
	for rival, nodes := range c.out {
		answered += nodes
		most = max(most, nodes)
		largest = largest && rival < hashed
	}
	return decide(contested{
		nodes: len(s.c.Nodes()), quorum: s.c.Quorum(), answered: answered, mine: c.ok, most: most, largest: largest,
	})
}

// outvoted reports whether a rival has a quorum.
func (s *Store) outvoted(c count) bool {
	for _, nodes := range c.out {
		if nodes >= s.c.Quorum() {
			return true
		}
	}
	return false
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

// round counts how long a contest has been open.
type round struct {
	began time.Time
	pause time.Duration
}

const (
	firstPause = 10 * time.Millisecond
	maxPause   = 250 * time.Millisecond
)

// again waits before the next round, longer each time. It reports false if ctx ends, or once rivals have had the time to ask
// all nodes and to concede.
func (s *Store) again(ctx context.Context, r *round) bool {
	if r.pause = min(2*r.pause, maxPause); r.pause == 0 {
		r.began, r.pause = time.Now(), firstPause
	}
	if time.Since(r.began) > 3*s.c.Config().NodeTimeout {
		return false
	}
	t := time.NewTimer(r.pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
