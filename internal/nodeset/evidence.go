package nodeset

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/marks"
)

// errUnmarked accompanies the reason: if an error wraps only one reason,
// go-redis shows that alone.
var errUnmarked = errors.New("cannot be marked")

// errChanged is why a mark is not written.
var errChanged = errors.New("another process has changed " + marks.Key)

// evidence is a mark that was read on a node, and from when on it proves votes.
type evidence struct {
	text string
	mark mark
	ripe int64 // c.since time
}

// swapMark writes a mark if the old one is still there, and returns what is
// there then.
const swapMark = `local mark = redis.call('GET', KEYS[1]) or ''
if mark ~= ARGV[1] then return mark end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]`

// markTries is how often a mark is written again that somebody else has changed
// meanwhile.
const markTries = 5

// quarantine is Config.quarantine.
func (c *Set) quarantine() time.Duration { return c.cfg.quarantine() }

// mark reads the node's mark over a connection to this server, and changes it
// by the rules of [witness]. A server that accepts no mark is not used for
// locks, because nothing would show later that it has lost data.
func (n *Node) mark(ctx context.Context, via redis.Cmdable, f facts) error {
	text, err := via.Get(ctx, marks.Key).Result()
	if err == nil && !n.canFailOver {
		if err := f.askReplay(ctx, via, text); err != nil {
			return err
		}
	}
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

// unmarked is why a node cannot be marked.
func (n *Node) unmarked(err error) error {
	switch {
	case n.canFailOver && saidBy(err, "ERR unknown command"): // of a Sentinel that does not tell what it is
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
	s := f.server()
	if n.canFailOver {
		s.files, s.syncs = false, false
	}
	if n.isCluster {
		s.run, s.repl, s.promoted = n.runLocked(), "", false
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
	other := n.sawLocked(text, m)
	n.mu.Unlock()
	if other && m.state != stateRipe {
		n.tel.Restarted()
		n.c.sayOf(n, slog.LevelWarn, "node restarted; it may have lost locks, so its vote does not count for a while",
			"for", n.c.quarantine())
		n.c.logQuorumChange()
	}
}

// sawLocked is saw for a parsed mark. It reports whether the mark names another
// memory than the node had before.
func (n *Node) sawLocked(text string, m mark) (other bool) {
	now, before := time.Now(), n.evidence.Load()
	same := before != nil && before.mark.memory == m.memory
	if same && before.mark.final && !m.final {
		return false // it was read before what is known by now
	}
	e := n.evidenceLocked(text, m, now)
	if same {
		e.ripe = min(e.ripe, before.ripe)
	} else {
		n.watched = now
	}
	if born := n.bornLocked(m, now); n.born.IsZero() || !same || before.mark.joined() != m.joined() || born.Before(n.born) {
		n.born = born
	}
	if m.begun.node != 0 {
		n.fenceFloor.Store(1000*m.begun.node + (time.Second + n.c.cfg.MaxTTL).Microseconds())
	}
	n.witness.saw(m)
	n.evidence.Store(e)
	n.unsettled.Store(n.isCluster && m.run != n.runLocked())
	return before != nil && !same
}

// evidenceLocked is what a mark proves at now.
func (n *Node) evidenceLocked(text string, m mark, now time.Time) *evidence {
	e := &evidence{text: text, mark: m}
	e.ripe = n.c.since(now) + int64(n.c.quarantine()-m.begun.age(stampAt(now, n.offset)))
	if m.state == stateRipe {
		e.ripe = math.MinInt64
	}
	return e
}

// bornLocked is since when the node has kept the records of its set, by its
// mark m. What was written before a resize took it into the set, it was not
// told.
func (n *Node) bornLocked(m mark, now time.Time) time.Time {
	memory := m.begun
	if n.facts.aof && !n.canFailOver { // it has kept its files since
		memory = m.since
	}
	clocks := stampAt(now, n.offset)
	age := memory.age(clocks)
	if joined := m.joined(); joined != (stamp{}) {
		age = min(age, joined.age(clocks))
	}
	return now.Add(-age)
}

// proved processes the mark that was read after a batch of commands, and
// reports whether it proves that the node's current server executed them, and
// that this server has every grant that matters.
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

// reconsider reads the node's mark, and writes the one that it ought to have,
// because what was read behind a batch is another or none, or because the node
// lacks its place in the set. It retries until the node has its place or is
// down.
func (n *Node) reconsider() {
	if !n.reconsidering.CompareAndSwap(false, true) {
		return
	}
	if !n.c.spawn(func() {
		n.look(n.c.ctx)
		for pace := newPace(); n.misplaced() && n.down.Load() == nil && n.c.pause(pace.NextBackOff()); {
			n.look(n.c.ctx)
		}
		if n.reconsidering.Store(false); n.misplaced() && n.down.Load() == nil {
			n.reconsider()
		}
	}) {
		n.reconsidering.Store(false)
	}
}

// look has the mark be what it ought to be.
func (n *Node) look(ctx context.Context) {
	if n.isCluster {
		_ = n.probe(ctx)
		return
	}
	cn := n.client.(*redis.Client).Conn() // what a server says of itself goes with a mark that was read on the same connection
	defer cn.Close()
	f, err := askFacts(ctx, cn)
	if err == nil && (f.runID == "" || n.knows(f.runID)) && !f.replica && !f.loading {
		_ = n.mark(ctx, cn, f)
	}
}
