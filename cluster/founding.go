package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// The nodes of a set that was just made vote at once: nothing was ever granted on them. That a node has no mark does not
// show it: one that has lost everything has none either. So a set is new only if all of its nodes were without a mark when
// they were met, by processes that knew none of them, and so lately that nobody can have let one vote since. The process
// that finds it so writes on every node in which memories they were founded together; until a quorum has that, no grant
// counts for anybody. Any other mark has outlived a restart, or was made by somebody who remembers.

// errUnmarked stands beside the reason: of an error with one reason go-redis shows that alone.
var errUnmarked = errors.New("can not be marked")

// evidence is a mark that was read on a node, and from when on it proves votes.
type evidence struct {
	text string
	mark mark
	ripe int64 // c.since time
}

// swapMark writes a mark if the old one is still there, and returns what is there then.
const swapMark = `local mark = redis.call('GET', KEYS[1]) or ''
if mark ~= ARGV[1] then return mark end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]`

// markTries is how often a mark is written again that somebody else has changed meanwhile.
const markTries = 5

// quarantine is for how long a memory must have lasted before its node votes: until every grant that was forgotten has
// expired, of those too that were asked for over connections to a server that is no longer behind the node's name.
func (c *Cluster) quarantine() time.Duration {
	return c.cfg.MaxTTL + c.lifetime() + c.cfg.NodeTimeout + Margin(c.cfg.MaxTTL)
}

// lifetime is how long a connection is used: the name that it was made with may lead to another server by then.
func (c *Cluster) lifetime() time.Duration { return c.cfg.MaxTTL / 4 }

// mark reads the node's mark over a connection to this server, and changes it as the rules of mark.go have it. A server
// that takes no mark is not asked for locks: nothing would show later on what it has forgotten.
func (n *Node) mark(ctx context.Context, via redis.Cmdable, f facts) error {
	text, err := via.Get(ctx, markKey).Result()
	for range markTries {
		if err != nil && !errors.Is(err, redis.Nil) {
			return n.unmarked(err)
		}
		next := n.markDue(text, f)
		if next == text {
			n.saw(text)
			n.c.reckon()
			return nil
		}
		old := text
		if text, err = via.Eval(ctx, swapMark, []string{markKey}, old, next).Text(); err == nil && text == next {
			n.saw(text)
			n.c.reckon()
			return nil
		}
	}
	return n.unmarked(fmt.Errorf("%s changes all the time", markKey))
}

// unmarked is why a node can not be marked.
func (n *Node) unmarked(err error) error {
	switch {
	case n.stands && saidBy(err, "ERR unknown command"): // of a Sentinel that does not tell what it is
		return nil
	case saidBy(err, "NOAUTH"): // it lets us connect, and do nothing
		return err
	case saidBy(err, "NOPERM"):
		return fmt.Errorf("%w: %w; this user needs ~%s +get +set +eval", errUnmarked, err, markKey)
	case answered(err):
		return fmt.Errorf("%w: %s: %w", errUnmarked, markKey, err)
	}
	return err
}

// markDue is the mark that the node ought to have, of which text is on it.
func (n *Node) markDue(text string, f facts) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := server{run: n.runLocked(), repl: f.repl, promoted: f.promoted, syncs: f.fsyncAlways && !n.stands, now: stampAt(time.Now(), f.offset())}
	if n.many {
		s.repl, s.promoted = "", false
	}
	if f.now.IsZero() {
		s.now.node = 0
	}
	old, _ := parseMark(text)
	next := n.witness.connected(text, s, n.trustLocked(old.memory), rand.Text)
	if next == old {
		return text
	}
	return next.String()
}

// stampAt is now by our clock, and by one that is offset from it.
func stampAt(now time.Time, offset time.Duration) stamp {
	return stamp{client: now.UnixMilli(), node: now.Add(offset).UnixMilli()}
}

func (n *Node) trustLocked(memory string) trust {
	t := trust{quarantine: n.c.quarantine()}
	if e := n.evidence.Load(); e != nil && e.mark.memory == memory {
		t.watched = time.Since(n.watched)
	}
	return t
}

// saw takes in that the node has this mark.
func (n *Node) saw(text string) {
	m, ok := parseMark(text)
	if !ok {
		return
	}
	n.mu.Lock()
	now, before := time.Now(), n.evidence.Load()
	e := &evidence{text: text, mark: m}
	was := stampAt(now, n.offset)
	e.ripe = n.c.since(now) + int64(n.c.quarantine()-m.begun.age(was))
	memory := m.begun
	if n.facts.aof && !n.stands { // it has kept its files since
		memory = m.since
	}
	born := now.Add(-memory.age(was))
	same := before != nil && before.mark.memory == m.memory
	if same {
		e.ripe = min(e.ripe, before.ripe)
	} else {
		n.watched = now
		n.founded.Store(false)
	}
	if n.born.IsZero() || !same || born.Before(n.born) {
		n.born = born
	}
	if m.begun.node != 0 {
		n.boot.Store(1000*m.begun.node + (time.Second + n.c.cfg.MaxTTL).Microseconds())
	}
	n.witness.saw(m)
	n.evidence.Store(e)
	n.mu.Unlock()
	if before != nil && !same && m.state != stateRipe {
		n.tel.Restarted()
		n.c.sayOf(n, slog.LevelWarn, "node restarted; it may have forgotten locks, so its vote does not count for a while",
			"for", n.c.quarantine())
		n.c.weigh()
	}
}

// proved takes in the mark that was read behind a batch of commands, and reports whether it proves that they were executed by
// the server that is the node's, which remembers every grant that matters.
func (n *Node) proved(text string) bool {
	e := n.evidence.Load()
	if e == nil {
		return false
	}
	if e.text != text {
		m, ok := parseMark(text)
		n.mu.Lock()
		proves := ok && n.witness.proves(m)
		n.mu.Unlock()
		if !proves {
			n.reconsider()
			return false
		}
		n.saw(text)
		n.c.reckon()
	}
	return n.votes(time.Now())
}

// reconsider has the mark looked at that does not fit, or is gone: the node was emptied, or was another's replica.
func (n *Node) reconsider() {
	if !n.reconsidering.CompareAndSwap(false, true) {
		return
	}
	if !n.c.spawn(func() {
		defer n.reconsidering.Store(false)
		ctx, cancel := context.WithTimeout(n.c.ctx, 2*n.c.cfg.NodeTimeout)
		defer cancel()
		if n.many {
			_ = n.probe(ctx)
			return
		}
		f, err := askFacts(ctx, n.client)
		if err == nil && (f.runID == "" || n.knows(f.runID)) && !f.replica && !f.loading {
			_ = n.mark(ctx, n.client, f)
		}
	}) {
		n.reconsidering.Store(false)
	}
}

// marks are the marks of all nodes; ok is false while some are not known.
func (c *Cluster) marks() (marks []mark, texts []string, young []bool, ok bool) {
	now := time.Now()
	for _, n := range c.nodes {
		e := n.evidence.Load()
		if e == nil {
			e = &evidence{}
		}
		n.mu.Lock()
		at := stampAt(now, n.offset)
		n.mu.Unlock()
		marks, texts = append(marks, e.mark), append(texts, e.text)
		young = append(young, e.mark.begun.oldest(at) < c.cfg.MaxTTL/2)
		ok = (ok || len(marks) == 1) && e.text != ""
	}
	return marks, texts, young, ok
}

// reckon has the nodes vote at once that were founded with this set.
func (c *Cluster) reckon() {
	marks, _, _, _ := c.marks()
	for i, n := range c.nodes {
		if e := n.evidence.Load(); e != nil && stands(marks, i) {
			n.mu.Lock()
			n.founded.Store(n.evidence.Load().mark == marks[i])
			n.mu.Unlock()
		}
	}
}

// found has the set founded if all nodes were met and it is new.
func (c *Cluster) found() {
	marks, _, young, ok := c.marks()
	if ok && standingOf(marks, young) == unfounded && c.founding.CompareAndSwap(false, true) && !c.spawn(c.beFounded) {
		close(c.settled)
	}
}

// beFounded founds the set. It ends when that is done, or can not be any more.
func (c *Cluster) beFounded() {
	defer c.weigh()
	defer close(c.settled)
	for pace := newPace(); ; {
		marks, texts, young, _ := c.marks()
		if standingOf(marks, young) != unfounded {
			return
		}
		set := setOf(memoriesOf(marks))
		_ = c.onAll(func(ctx context.Context, n *Node) error {
			next := marks[n.index].founded(set).String()
			text, err := n.client.Eval(ctx, swapMark, []string{markKey}, texts[n.index], next).Text()
			if err == nil {
				n.saw(text)
			}
			return err
		})
		c.reckon()
		if marks, _, young, _ := c.marks(); standingOf(marks, young) != unfounded || !c.pause(pace.NextBackOff()) {
			return
		}
	}
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
