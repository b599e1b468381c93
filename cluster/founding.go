package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/marks"
)

// What a set is, its nodes say: each carries the set's record in its mark, and a vote counts only under the record that a
// quorum of them carries. A set without one is founded by the process that meets it. That a node has no mark does not show
// that nothing was ever granted on it: one that has lost everything has none either. So new nodes vote at once only if all
// were without a mark when they were met, by a process that knew none of them, and no process that did came within a grace
// period: every process keeps a connection to each node, and notices at once when a node has lost everything.

// errUnmarked stands beside the reason: of an error with one reason go-redis shows that alone.
var errUnmarked = errors.New("can not be marked")

// errChanged is why a mark is not written.
var errChanged = errors.New("somebody else has changed " + marks.Key)

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
	return c.cfg.MaxTTL + c.lifetime() + 2*c.cfg.NodeTimeout + Margin(c.cfg.MaxTTL)
}

// grace is how long a set of new nodes waits for processes that knew them: more than it takes one to find its mailbox dead, or
// to try again, and then to connect, if the network answers within a second.
func (c *Cluster) grace() time.Duration { return 2*mailEvery + 3*min(c.cfg.NodeTimeout, time.Second) }

// lifetime is how long a connection is used: the name that it was made with may lead to another server by then.
func (c *Cluster) lifetime() time.Duration { return c.cfg.MaxTTL / 4 }

// mark reads the node's mark over a connection to this server, and changes it as the rules of mark.go have it. A server
// that takes no mark is not asked for locks: nothing would show later on what it has forgotten.
func (n *Node) mark(ctx context.Context, via redis.Cmdable, f facts) error {
	text, err := via.Get(ctx, marks.Key).Result()
	for range markTries { // until it is what it ought to be, by all that was learned meanwhile
		if err != nil && !errors.Is(err, redis.Nil) {
			return n.unmarked(err)
		}
		if err := n.c.refuses(text); err != nil {
			return err
		}
		next := n.markDue(text, f)
		if next != text {
			text, err = via.Eval(ctx, swapMark, []string{marks.Key}, text, next).Text()
			if err != nil || text != next {
				continue
			}
		}
		n.saw(text)
		n.c.reckon()
		if n.markDue(text, f) == text {
			return n.outside()
		}
	}
	return n.unmarked(fmt.Errorf("%s changes all the time", marks.Key))
}

// unmarked is why a node can not be marked.
func (n *Node) unmarked(err error) error {
	switch {
	case n.stands && saidBy(err, "ERR unknown command"): // of a Sentinel that does not tell what it is
		return nil
	case saidBy(err, "NOAUTH"): // it lets us connect, and do nothing
		return err
	case saidBy(err, "NOPERM"):
		return fmt.Errorf("%w: %w; this user needs ~%s +get +set +eval", errUnmarked, err, marks.Key)
	case answered(err):
		return fmt.Errorf("%w: %s: %w", errUnmarked, marks.Key, err)
	}
	return err
}

// markDue is the mark that the node ought to have, of which text is on it.
func (n *Node) markDue(text string, f facts) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := server{
		run: f.runID, repl: f.repl, promoted: f.promoted, files: f.aof && !n.stands, syncs: f.fsyncAlways && !n.stands,
		uptime: f.uptime, now: stampAt(time.Now(), f.offset()),
	}
	if n.many {
		s.run, s.repl, s.promoted = n.runLocked(), "", false
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
	if before != nil && before.mark.memory == m.memory && before.mark.final && !m.final {
		n.mu.Unlock()
		return // it was read before what is known by now
	}
	e := &evidence{text: text, mark: m}
	was := stampAt(now, n.offset)
	e.ripe = n.c.since(now) + int64(n.c.quarantine()-m.begun.age(was))
	if m.state == stateRipe {
		e.ripe = math.MinInt64
	}
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
	}
	if n.born.IsZero() || !same || born.Before(n.born) {
		n.born = born
	}
	if m.begun.node != 0 {
		n.boot.Store(1000*m.begun.node + (time.Second + n.c.cfg.MaxTTL).Microseconds())
	}
	n.witness.saw(m)
	n.evidence.Store(e)
	n.unsettled.Store(n.many && m.run != n.runLocked())
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

// reconsider reads the node's mark, and writes the one that it ought to have, because what was read behind a batch is another
// or none, or because the node lacks its place in the set. It goes on until the node has its place or is down.
func (n *Node) reconsider() {
	if !n.reconsidering.CompareAndSwap(false, true) {
		return
	}
	if !n.c.spawn(func() {
		n.look()
		for pace := newPace(); n.misplaced() && n.down.Load() == nil && n.c.pause(pace.NextBackOff()); {
			n.look()
		}
		if n.reconsidering.Store(false); n.misplaced() && n.down.Load() == nil {
			n.reconsider()
		}
	}) {
		n.reconsidering.Store(false)
	}
}

// look has the mark be what it ought to be.
func (n *Node) look() {
	if n.many {
		_ = n.probe(n.c.ctx)
		return
	}
	ctx := n.c.ctx                        // each step ends by itself
	cn := n.client.(*redis.Client).Conn() // what a server says of itself goes with a mark that was read on the same connection
	defer cn.Close()
	f, err := askFacts(ctx, cn)
	if err == nil && (f.runID == "" || n.knows(f.runID)) && !f.replica && !f.loading {
		_ = n.mark(ctx, cn, f)
	}
}

// misplaced reports whether the node lacks a place in the set that this process can give it.
func (n *Node) misplaced() bool {
	r, e := n.c.record.Load(), n.evidence.Load()
	if r == nil || e == nil || e.mark.carries(*r) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.witness.placed(e.mark, stamp{}, rand.Text) != e.mark
}

// marks are the marks of all nodes, as they were last read; zero of a node that was not met.
func (c *Cluster) marks() (all []mark, texts []string) {
	for _, n := range c.nodes {
		e := n.evidence.Load()
		if e == nil {
			e = &evidence{}
		}
		all, texts = append(all, e.mark), append(texts, e.text)
	}
	return all, texts
}

// names are what this process calls the nodes, as records have it.
func (c *Cluster) names() (all []string) {
	for _, n := range c.nodes {
		all = append(all, url.QueryEscape(n.name))
	}
	return all
}

// reckon finds out which record is in force and which nodes belong to the set, after a mark was read that is new. It has nodes
// reconsidered that lack a place which this process can give them.
func (c *Cluster) reckon() {
	c.reckoning.Lock()
	defer c.reckoning.Unlock()
	all, _ := c.marks()
	r, ok := inForce(all, c.Quorum())
	known := c.record.Load()
	switch {
	case ok && known != nil && *known != r: // of votes under the one and under the other no quorum is made
		c.changed.Store(c.since(time.Now()) + int64(c.quarantine()))
		c.record.Store(&r)
	case ok:
		c.record.Store(&r)
	case known != nil:
		r = *known
	default:
		return
	}
	whole := true
	for i, n := range c.nodes {
		n.mu.Lock()
		n.witness.knows(r, all, i)
		n.mu.Unlock()
		n.member.Store(belongs(all, i, r))
		switch err := n.outside(); {
		case n.misplaced():
			n.reconsider()
		case err != nil && all[i].memory != "":
			n.trip(err)
		}
		whole = whole && (n.member.Load() || n.down.Load() != nil || all[i].memory == "")
	}
	if whole {
		c.settle(nil)
	}
}

// found sees to it that the set has a record, once Open has tried all nodes.
func (c *Cluster) found() {
	if c.cfg.Partial { // it only looks
		c.settle(nil)
		return
	}
	if c.opened.Load() && c.record.Load() == nil && c.founding.CompareAndSwap(false, true) && !c.spawn(c.beFounded) {
		c.settle(nil)
	}
}

// settle ends the wait of Open for the set to have a record. err is why it can have none.
func (c *Cluster) settle(err error) {
	c.settling.Do(func() {
		c.unfit = err
		close(c.settled)
	})
}

// beFounded founds the set, unless somebody else does.
func (c *Cluster) beFounded() {
	defer c.weigh()
	var since time.Time // when the nodes were first seen with the memories that they have
	var seen []string
	said := false
	for pace := newPace(); c.record.Load() == nil; {
		all, texts := c.marks()
		if memories := memoriesOf(all); !slices.Equal(seen, memories) {
			since, seen = time.Now(), memories
		}
		wait := pace.NextBackOff()
		f, err := c.foundation(all)
		left := time.Until(since.Add(c.foundingDue(f, err)))
		switch {
		case err != nil && left > 0: // somebody may be giving nodes their places, which this process calls by other names
			wait = min(wait, left)
		case err != nil && !said:
			c.Say(slog.LevelError, "the nodes do not make a set", "error", err, "listed", listing(c.nodeNames(), c.Quorum()))
			c.settle(err)
			said = true
		case err != nil:
		case left > 0:
			if wait = min(wait, left); left > c.grace() {
				c.settle(nil) // it takes long
			}
		case c.writeMarks(f, texts):
			continue // what was proposed is made final
		}
		if c.record.Load() == nil && !c.pause(wait) {
			return
		}
	}
}

// foundation is how the nodes with these marks become a set. A node that belongs to another keeps them from it.
func (c *Cluster) foundation(all []mark) (foundation, error) {
	for _, n := range c.nodes {
		if d := n.down.Load(); d != nil && isListed(d.error()) {
			return foundation{}, &NodeError{n.name, d.error()}
		}
	}
	return found(all, c.names(), c.Quorum())
}

// foundingDue is how long after this process has begun to look it may found the set, or say that it can not.
func (c *Cluster) foundingDue(f foundation, err error) time.Duration {
	switch {
	case isListed(err):
		return 0
	case err != nil:
		return c.grace()
	case f.absent:
		return c.quarantine()
	case f.whole && !f.made:
		return c.grace()
	}
	return 0
}

// writeMarks writes the marks of a founding, one after another, and reports whether all were written.
func (c *Cluster) writeMarks(f foundation, texts []string) (all bool) {
	defer c.reckon()
	order := f.order()
	for _, i := range order {
		n, next := c.nodes[i], f.next[i]
		if n.writeMark(texts[i], next.String()) != nil {
			return false
		}
	}
	return len(order) > 0
}

// writeMark writes a mark, unless the node has another than this process has seen.
func (n *Node) writeMark(old, next string) error {
	text, err := n.client.Eval(n.c.ctx, swapMark, []string{marks.Key}, old, next).Text()
	if err != nil {
		return err
	}
	if text != next {
		n.proved(text) // takes it in if it is this node's: it may be one that the server has copied
		return errChanged
	}
	n.saw(text)
	return nil
}

// awaitFounding waits until it is known whether the set has a record, but not for long. It returns an error where the nodes
// can have none.
func (c *Cluster) awaitFounding(ctx context.Context) error {
	patience := time.NewTimer(2*c.grace() + 2*c.cfg.NodeTimeout)
	defer patience.Stop()
	select {
	case <-c.settled:
		if c.unfit != nil && !c.cfg.Partial {
			return fmt.Errorf("%w: %w; this process lists %s", ErrConfig, c.unfit, listing(c.nodeNames(), c.Quorum()))
		}
	case <-patience.C:
	case <-ctx.Done():
	}
	return nil
}

// nodeNames are the names of the nodes, for a person.
func (c *Cluster) nodeNames() (all []string) {
	for _, n := range c.nodes {
		all = append(all, n.name)
	}
	return all
}

// refuses is why a node with this mark is none of the nodes that this process lists.
func (c *Cluster) refuses(text string) error {
	m, _ := parseMark(text)
	if m.record == (record{}) || m.record.fits(len(c.nodes), c.Quorum()) {
		return nil
	}
	return &listError{m.record, listing(c.nodeNames(), c.Quorum())}
}

// listError refuses a node that belongs to a set of another size or quorum.
type listError struct {
	of     record
	listed string
}

func (e *listError) Error() string {
	return "belongs to a set of " + e.of.String() + ", and this process lists " + e.listed + "; " + fixList
}

// outside is why the node is none of the set whose record is in force.
func (n *Node) outside() error {
	r, e := n.c.record.Load(), n.evidence.Load()
	switch {
	case r == nil || e == nil || n.member.Load():
		return nil
	case e.mark.carries(*r):
		return &placeError{"has the place of " + unescaped(e.mark.id) + " in the set, as another node that is listed: they are one server, " +
			"or one has the other's data; list each server once, and empty one that is a copy (FLUSHALL)"}
	case e.mark.final:
		return &placeError{"belongs to another set, of " + e.mark.record.String() + ", than most nodes that are listed, which are of " + r.String() + "; " + fixList}
	}
	if n.misplaced() {
		return nil // it is given its place
	}
	return &placeError{"has no place in the set of " + r.String() + "; list it by the name that it has there"}
}

// placeError refuses a node that is none of the set.
type placeError struct{ why string }

func (e *placeError) Error() string { return e.why }

// isListed reports whether err says that a node belongs to a set that this process does not list.
func isListed(err error) bool {
	var list *listError
	return errors.As(err, &list)
}

// strangersError refuses nodes of which too few can belong to one set.
type strangersError struct{ of record }

func (e *strangersError) Error() string {
	return "a node belongs to a set of " + e.of.String() + ", of which too few are listed under these names; " + fixList
}

const fixList = "list those nodes; or, for another set, stop every process that uses them and delete " + marks.Key + " on each"
