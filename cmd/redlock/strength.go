package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// strength is how many of a set's nodes are up and vote.
type strength struct {
	nodes, quorum int
	up, voting    int
	fresh         bool          // those that are up are in no set yet
	in            time.Duration // until a quorum votes, if the nodes that are up stay up; negative if too few are up
}

func strengthOf(reports []cluster.Report, quorum int) strength {
	var all []cluster.Status
	for _, r := range reports {
		all = append(all, r.Status)
	}
	return strengthNow(all, quorum)
}

func strengthNow(all []cluster.Status, quorum int) strength {
	s := strength{nodes: len(all), quorum: quorum, in: -1, fresh: true}
	var waits []time.Duration
	for _, n := range all {
		if !n.Up {
			continue
		}
		s.up++
		s.fresh = s.fresh && n.New
		if n.Votes {
			s.voting++
		}
		waits = append(waits, max(n.VotesIn, 0))
	}
	if slices.Sort(waits); s.up >= quorum {
		s.in = waits[quorum-1]
	}
	return s
}

// err returns the error of a set on which nothing can be locked. The error
// prints nothing, because the text was printed before.
func (s strength) err() error {
	if s.voting >= s.quorum {
		return nil
	}
	return failed(exitNoQuorum, nil)
}

// text returns a sentence that says whether locks can be acquired.
func (s strength) text() string {
	head := fmt.Sprintf("%d of %s up; a quorum is %d", s.up, plural(s.nodes, "node is", "nodes are"), s.quorum)
	switch {
	case s.up < s.quorum:
		return head + ", so no lock can be acquired."
	case s.fresh && s.up == s.nodes:
		return head + ". The nodes do not form a set yet: the first program that locks makes them one, within 2s."
	case s.voting < s.quorum && s.in == 0:
		return head + fmt.Sprintf(". Only %d can vote, so no lock can be acquired.", s.voting)
	case s.voting < s.quorum:
		return head + fmt.Sprintf(". Only %d can vote, so no lock can be acquired for %s.", s.voting, span(s.in))
	}
	return head + "."
}

// strengthDoc is the JSON of a strength.
type strengthDoc struct {
	Up       int      `json:"up"`
	Voting   int      `json:"voting"`
	QuorumIn *float64 `json:"quorum_in_ms"` // null: too few nodes are up
}

func (s strength) doc() strengthDoc {
	d := strengthDoc{Up: s.up, Voting: s.voting}
	if s.in >= 0 {
		in := ms(s.in)
		d.QuorumIn = &in
	}
	return d
}
