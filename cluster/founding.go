package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// The nodes of a set that was just made vote at once: nothing was ever granted on them. Their ages alone do not show that:
// nodes that have all restarted lately are as young, and one of them may have forgotten a grant. So every node has a mark, a
// key that it keeps for as long as it keeps anything, with run_ids of servers:
//
//	met <run>           by whoever comes to a node without one, before anything else is asked of it;
//	met again <run>     by one who knew it in an earlier run;
//	founded <run> ...   on all nodes, by a process that has met them all, and then found them all young and none with
//	                    another mark than that it was met in this run, or founded in these.
//
// A grant that was asked for before the set was founded and before the node was MaxTTL old counts for nobody who can tell how
// old it is, but on a node that syncs every write, and a set with such a node is not founded. So when a process finds what lets
// it found the set, there has been no grant of this set yet, and a server that runs on since has forgotten none: it votes for
// whoever finds it founded together with a quorum of the others. The quorum tells this set from others that it is in as
// well. Any other mark of another run has outlived a restart, and shows that the set is not new. So that is known as long as
// one node remembers, or somebody who knew them.

// markKey is the key of a node's mark. It stands outside every prefix, for it is the same whatever the locks are called.
const markKey = "redlock:mark"

// errUnmarked stands beside the reason: of an error with one reason go-redis shows that alone.
var errUnmarked = errors.New("can not be marked")

const (
	met      = "met "
	metAgain = "met again "
	founded  = "founded "
)

// runLocked names the server behind the node; the servers, of a Redis Cluster. It is "" as long as none was met that
// tells.
func (n *Node) runLocked() string { return strings.Join(slices.Sorted(maps.Keys(n.runIDs)), ",") }

// mark reads the node's mark, and makes one if there is none. A server that has none and takes none is not asked for locks:
// nothing would show later on that it has granted some.
func (n *Node) mark(ctx context.Context, via redis.Cmdable) error {
	n.mu.Lock()
	run, done, word := n.runLocked(), n.marked, met
	if n.changed {
		word = metAgain
	}
	n.mu.Unlock()
	if done {
		return nil
	}
	text, err := via.Get(ctx, markKey).Result()
	if errors.Is(err, redis.Nil) {
		if err = via.SetArgs(ctx, markKey, word+run, redis.SetArgs{Mode: "NX"}).Err(); err == nil || errors.Is(err, redis.Nil) {
			text, err = via.Get(ctx, markKey).Result()
		}
	}
	switch {
	case n.stands && saidBy(err, "ERR unknown command"): // of a Sentinel that does not tell what it is
		return nil
	case saidBy(err, "NOAUTH"): // it lets us connect, and do nothing
		return err
	case saidBy(err, "NOPERM"):
		return fmt.Errorf("%w: %w; this user needs ~%s +get +set", errUnmarked, err, markKey)
	case err != nil && answered(err):
		return fmt.Errorf("%w: %s: %w", errUnmarked, markKey, err)
	case err != nil:
		return err
	}
	n.learnMark(run, text)
	n.c.reckon()
	return nil
}

func (n *Node) learnMark(run, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.runLocked() == run {
		n.marked, n.markText = text != "", text
	}
}

// marks are the runs and the marks of all nodes, as far as they are known.
func (c *Cluster) marks() (runs, marks []string) {
	for _, n := range c.nodes {
		n.mu.Lock()
		runs, marks = append(runs, n.runLocked()), append(marks, n.markText)
		n.mu.Unlock()
	}
	return runs, marks
}

// reckon has the nodes vote at once that were founded, and run since.
func (c *Cluster) reckon() {
	runs, marks := c.marks()
	for i, n := range c.nodes {
		if stands(marks[i], runs[i], runs) {
			n.stand(runs[i])
		}
	}
}

// stands reports whether a node with this mark, in this run, was founded in it with a quorum of the nodes of a set that have
// these runs.
func stands(mark, run string, runs []string) bool {
	text, ok := strings.CutPrefix(mark, founded)
	names, there := strings.Fields(text), 0
	for _, r := range runs {
		if slices.Contains(names, r) {
			there++
		}
	}
	return ok && slices.Contains(names, run) && len(names) == len(runs) && there >= Quorum(len(runs))
}

// stand has the node vote for as long as this is its run. One that this process has seen in another run never does: it may
// have been told by a server that stood in for it what it is to know.
func (n *Node) stand(run string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.runLocked() == run && !n.changed {
		n.founded.Store(true)
	}
}

// standing is what the marks of all nodes say of the set.
type standing int

const (
	unfounded   standing = iota // it is new, and not all nodes are founded yet
	isFounded                   // all are
	established                 // it is not new
)

// foundingOf is the mark of nodes that are founded in these runs. It is the same in whatever order a process has them.
func foundingOf(runs []string) string {
	return founded + strings.Join(slices.Sorted(slices.Values(runs)), " ")
}

// standingOf reads the marks of nodes in these runs.
func standingOf(marks, runs []string) standing {
	got, founding := 0, foundingOf(runs)
	for i, mark := range marks {
		switch mark {
		case founding:
			got++
		case met + runs[i]:
		default:
			return established
		}
	}
	if got == len(marks) {
		return isFounded
	}
	return unfounded
}

// found has it found out whether the set is new, once all nodes were met and are young.
func (c *Cluster) found() {
	if c.allYoung(time.Now()) && c.founding.CompareAndSwap(false, true) && !c.spawn(c.beFounded) {
		close(c.settled)
	}
}

// beFounded founds the set if it is new. It ends when that is done, or can not be any more.
func (c *Cluster) beFounded() {
	defer c.weigh()
	defer close(c.settled)
	runs, _ := c.marks()
	isNew := false // there was no grant when this process had met these servers, so it stays so
	for pace := newPace(); c.allYoung(time.Now()); {
		if !isNew && c.readMarks(runs) == nil {
			_, marks := c.marks()
			switch standingOf(marks, runs) {
			case unfounded:
				isNew = true
			case isFounded, established:
				return
			}
		}
		if isNew && c.inscribe(runs) == nil {
			return
		}
		if !c.pause(pace.NextBackOff()) {
			return
		}
	}
}

// readMarks reads the marks of all nodes again.
func (c *Cluster) readMarks(runs []string) error {
	err := c.onAll(func(ctx context.Context, n *Node) error {
		text, err := n.client.Get(ctx, markKey).Result()
		if err == nil || errors.Is(err, redis.Nil) {
			n.learnMark(runs[n.index], text)
			return nil
		}
		return err
	})
	c.reckon()
	return err
}

// inscribe writes on all nodes that they are founded.
func (c *Cluster) inscribe(runs []string) error {
	text := foundingOf(runs)
	err := c.onAll(func(ctx context.Context, n *Node) error { return n.client.Set(ctx, markKey, text, 0).Err() })
	if err == nil {
		for i, n := range c.nodes {
			n.learnMark(runs[i], text)
		}
		c.reckon()
	}
	return err
}

// onAll asks all nodes at once.
func (c *Cluster) onAll(ask func(ctx context.Context, n *Node) error) error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { errs[i] = ask(c.ctx, n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// awaitFounding waits until it is known whether the set is new, if that is being found out, but not for long.
func (c *Cluster) awaitFounding(ctx context.Context) {
	if !c.founding.Load() {
		return
	}
	patience := time.NewTimer(2 * c.cfg.NodeTimeout)
	defer patience.Stop()
	select {
	case <-c.settled:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// metYoung counts a node that was freshly started when this process first met it, and stays so up to until. The set may be
// new only if all are at one time: a node that is met when the others have long had a past may have had one too.
func (c *Cluster) metYoung(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == 0 || until.Before(c.youngUntil) {
		c.youngUntil = until
	}
	c.young++
}

// allYoung reports whether all nodes are met, and for certain younger than MaxTTL, also if this machine was suspended.
func (c *Cluster) allYoung(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.young == len(c.nodes) && !Passed(c.youngUntil, now)
}
