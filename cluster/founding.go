package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// The nodes of a set that was just made vote at once: nothing was ever granted on them. Their ages alone do not show that:
// nodes that have all restarted lately are as young, and one of them may have forgotten a grant. So every node is marked
// with the run_ids of its servers, in a key that it keeps for as long as it keeps anything:
//
//	met <runs>      by whoever comes to a node that has no mark, before anything else is asked of it;
//	founded <runs>  on all nodes, by a process that has met them all, and then found them young and no mark on any but that
//	                they were met in this run.
//
// Nothing is granted before the set is founded or a node has run for MaxTTL. So at the moment at which a process finds what
// lets it found the set, there has been no grant yet, and a server that runs on since has forgotten none: it votes for
// everyone who finds it founded in its present run. A mark of another run has outlived a restart: such a set is not
// new, nor is one of which some nodes were founded and others only met. Their nodes vote when they have run for MaxTTL.
// That holds for as long as one node remembers.

// markKey is the key of a node's mark. It stands outside every prefix, for it is the same whatever the locks are called.
const markKey = "redlock:mark"

const (
	met     = "met "
	founded = "founded "
)

// runsLocked names the servers behind the node as far as this process met them.
func (n *Node) runsLocked() string { return strings.Join(slices.Sorted(maps.Keys(n.runIDs)), ",") }

func (n *Node) runs() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runsLocked()
}

// mark marks the node as met, once in each run, unless it has a mark. A server that refuses is asked again on the next
// connection; only a connection that does not work is an error.
func (n *Node) mark(ctx context.Context, via asker) error {
	n.mu.Lock()
	runs, done := n.runsLocked(), n.marked
	n.mu.Unlock()
	if runs == "" || runs == done {
		return nil
	}
	var put, got *redis.Cmd
	_, err := via.Pipelined(ctx, func(p redis.Pipeliner) error {
		put = p.Do(ctx, "set", markKey, met+runs, "nx")
		got = p.Do(ctx, "get", markKey)
		return nil
	})
	if err != nil && !answered(err) {
		return err
	}
	text, err := got.Text()
	if put.Err() != nil && !errors.Is(put.Err(), redis.Nil) { // nil: it has a mark
		err = put.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unmarked = err; err == nil && n.runsLocked() == runs {
		n.marked = runs
		if text == founded+runs {
			n.founded.Store(true)
		}
	}
	return nil
}

// standing is what the marks of all nodes say of the set.
type standing int

const (
	unfounded    standing = iota // it is new
	beingFounded                 // some nodes are founded: a process is at it, or the others have restarted since
	isFounded                    // all are
	established                  // it is not new
)

// standingOf reads the marks of nodes that run as runs says.
func standingOf(marks, runs []string) standing {
	got := 0
	for i, mark := range marks {
		switch mark {
		case founded + runs[i]:
			got++
		case "", met + runs[i]:
		default:
			return established
		}
	}
	switch got {
	case 0:
		return unfounded
	case len(marks):
		return isFounded
	}
	return beingFounded
}

// found has the nodes vote at once if the set is new, or was founded and they run since. Every probe that reached a node ends
// with it; all but the one of the last node find that others are still to be met.
func (c *Cluster) found(ctx context.Context) {
	if !c.allYoung(time.Now()) || !c.founding.CompareAndSwap(false, true) {
		return
	}
	defer c.founding.Store(false)
	runs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		runs[i] = n.runs()
	}
	isNew, done := false, false
	for pace := newPace(); ; {
		if !isNew { // once it is, it stays so: there was no grant when this process had met these servers
			isNew, done = c.look(ctx, runs)
		}
		if isNew {
			done = c.inscribe(ctx, runs)
		}
		if done {
			c.settle()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pace.NextBackOff()):
		}
	}
}

// look reads the marks. It reports whether the set is new, or else whether looking again would not change anything: where
// some nodes are founded and others only met, a process may be writing.
func (c *Cluster) look(ctx context.Context, runs []string) (isNew, done bool) {
	if !c.allYoung(time.Now()) {
		return false, true
	}
	marks, err := c.onAll(ctx, func(int) []any { return []any{"get", markKey} })
	if err != nil {
		return false, answered(err)
	}
	for i, n := range c.nodes {
		if marks[i] == founded+runs[i] {
			n.stand(runs[i])
		}
	}
	is := standingOf(marks, runs)
	return is == unfounded, is == isFounded || is == established
}

// inscribe writes on all nodes that they were founded, and has them vote. It reports whether it succeeded, or never will.
func (c *Cluster) inscribe(ctx context.Context, runs []string) (done bool) {
	_, err := c.onAll(ctx, func(i int) []any { return []any{"set", markKey, founded + runs[i]} })
	if err == nil {
		for i, n := range c.nodes {
			n.stand(runs[i])
		}
	}
	return answered(err)
}

// stand has the node vote for as long as it runs as runs says.
func (n *Node) stand(runs string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.runsLocked() == runs {
		n.founded.Store(true)
	}
}

// onAll runs a command on all nodes. A reply that is nil is "".
func (c *Cluster) onAll(ctx context.Context, command func(i int) []any) ([]string, error) {
	replies, errs := make([]string, len(c.nodes)), make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() {
			replies[i], errs[i] = n.client.Do(ctx, command(i)...).Text()
			if errors.Is(errs[i], redis.Nil) {
				errs[i] = nil
			}
		})
	}
	wg.Wait()
	return replies, errors.Join(errs...)
}

// metYoung counts a node that was freshly started when this process first met it, and stays so up to until. The set may be
// new only if all are at one time: a node that is met when the others have long had a past may have had one too.
func (c *Cluster) metYoung(until int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == 0 || until < c.youngUntil {
		c.youngUntil = until
	}
	c.young++
}

// allYoung reports whether it is to be found out whether the set is new.
func (c *Cluster) allYoung(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.settled && c.young == len(c.nodes) && c.since(now) < c.youngUntil
}

// settle ends the finding out.
func (c *Cluster) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = true
}
