package nodeset

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Events that an operator must know are logged here and nowhere else, one line
// each and few of a kind. A separate goroutine writes the lines, because the
// code that reports an event may serve a node's stream or renew locks, and a
// handler may wait for a disk or a terminal.

const (
	sayAtMost = 5                // lines of a kind
	sayWithin = 10 * time.Second // in this time
)

// events is the lines to be written.
type events struct {
	mu       sync.Mutex
	kinds    map[kind]*saying
	lines    []slog.Record
	writing  bool
	gone     bool // the quorum, as of the last line about it
	watching bool // for ends of quarantines
}

// kind is a message, and the node it is about, if it is about one.
type kind struct {
	node    *Node
	message string
}

// saying is how much was said of a kind.
type saying struct {
	since   time.Time
	said    int
	dropped int
}

// allow reports whether a line may be written at now, and how many were left out since the last one.
func (s *saying) allow(now time.Time) (dropped int, ok bool) {
	if now.Sub(s.since) >= sayWithin {
		s.since, s.said = now, 0
	}
	if s.said >= sayAtMost {
		s.dropped++
		return 0, false
	}
	s.said++
	dropped, s.dropped = s.dropped, 0
	return dropped, true
}

// Say logs an event that an operator must know, with pairs of names and values,
// unless there were many of its kind. It is for the packages above. It does not
// wait for the line to be written; Close does.
func (c *Set) Say(level slog.Level, message string, args ...any) {
	c.sayOf(nil, level, message, args...)
}

// sayOf is Say about a node.
func (c *Set) sayOf(n *Node, level slog.Level, message string, args ...any) {
	if !c.cfg.Logger.Enabled(c.ctx, level) {
		return
	}
	e, now := &c.events, time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kinds == nil {
		e.kinds = map[kind]*saying{}
	}
	s := e.kinds[kind{n, message}]
	if s == nil {
		s = &saying{since: now}
		e.kinds[kind{n, message}] = s
	}
	dropped, ok := s.allow(now)
	if !ok {
		return
	}
	line := slog.NewRecord(now, level, "redlock: "+message, 0)
	if n != nil {
		line.Add("node", n.name)
	}
	line.Add(args...)
	if dropped > 0 {
		line.Add("suppressed", dropped)
	}
	e.lines = append(e.lines, line)
	if !e.writing {
		e.writing = c.spawn(c.write)
	}
}

// write writes the lines there are.
func (c *Set) write() {
	e := &c.events
	for {
		e.mu.Lock()
		lines := e.lines
		e.lines = nil
		e.writing = len(lines) > 0
		e.mu.Unlock()
		if len(lines) == 0 {
			return
		}
		for _, line := range lines {
			c.cfg.Logger.Handler().Handle(context.Background(), line)
		}
	}
}

// logQuorumChange logs when the quorum is lost or restored, and records it for
// Health. It is called when a node went down, restarted, or recovered. Nothing
// reports the end of a quarantine, so if one delays the quorum, it checks again
// then.
func (c *Set) logQuorumChange() {
	if c.dead.Load() {
		return
	}
	spare := c.spare()
	c.noteQuorum(spare)
	e := &c.events
	e.mu.Lock()
	was := e.gone
	e.gone = spare < 0
	if e.gone && !e.watching && c.nextVote() >= 0 {
		e.watching = c.spawn(c.awaitVotes)
	}
	e.mu.Unlock()
	with := []any{"nodes", len(c.nodes), "need", c.Quorum(), "voting", c.Quorum() + spare}
	switch {
	case spare < 0 && !was:
		c.Say(slog.LevelError, "no quorum: nothing can be locked", with...)
	case spare >= 0 && was:
		c.Say(slog.LevelWarn, "a quorum again", with...)
	}
}

// nextVote is how long until the next node's quarantine is over; negative if none is in one.
func (c *Set) nextVote() time.Duration {
	next, now := time.Duration(-1), time.Now()
	for _, n := range c.nodes {
		if left := n.quarantined(now); left > 0 && (next < 0 || left < next) {
			next = left
		}
	}
	return next
}

// awaitVotes calls logQuorumChange whenever a quarantine is over, until none is.
func (c *Set) awaitVotes() {
	e := &c.events
	for {
		e.mu.Lock()
		next := c.nextVote()
		e.watching = next >= 0
		e.mu.Unlock()
		if next < 0 || !c.pause(next+time.Millisecond) {
			return
		}
		c.logQuorumChange()
	}
}

// sayClock says so when the node's clock is off, once until it is right again.
func (n *Node) sayClock() {
	n.mu.Lock()
	offset, was := n.offset, n.skewed
	n.skewed = offset.Abs() > clockTolerance
	off := n.skewed
	n.mu.Unlock()
	if off && !was {
		n.c.sayOf(n, slog.LevelWarn, "the clocks of the node and of this machine differ; keep them in step with NTP",
			"offset", offset.Round(time.Millisecond))
	}
}
