package cluster

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// errFull is the answer to a command above Config.MaxQueued.
var errFull = errors.New("too many commands wait for the node; see Config.MaxQueued")

// A batch is bounded because all its answers have to come within NodeTimeout, and because an urgent command waits for
// the batch before it: in commands, and in words, which bound the work of one batch on the server.
const (
	maxBatch = 512
	maxWords = 8192
	// One batch of yielding commands, for which urgent ones may have to wait.
	maxYieldBatch = 256
	maxYieldWords = 1024
)

// stream is the commands on their way to one node. One goroutine sends them in batches: what gathers while one batch is
// under way is the next. Urgent commands are sent in order. So are those that yield, but a batch of them only after every
// urgent command that has come in before.
type stream struct {
	mu     sync.Mutex
	lanes  [2]lane // urgent, yielding
	closed bool
	bell   chan struct{}
}

// lane is the commands of one urgency.
type lane struct {
	calls  []call
	queued int // calls that are neither answered nor owed
}

const urgent, yielding = 0, 1

func (cl *call) lane() int {
	if cl.yields() {
		return yielding
	}
	return urgent
}

// call is one command on its way.
type call struct {
	Command
	receiver Receiver
	owed     bool // not counted against Config.MaxQueued
	recovery bool // is sent although the node is down
	bySource bool
}

// send puts one command on the stream, whatever the breaker says.
func (n *Node) send(cl call) {
	err := ErrClosed
	if n.c.begin() {
		if n.stream.put(cl, n.c.cfg.MaxQueued) {
			return
		}
		defer n.c.end()
		err = errFull
	}
	deliver(cl.receiver, n, nil, err)
}

// put reports false if limit calls of its urgency are queued already.
func (s *stream) put(cl call, limit int) bool {
	s.mu.Lock()
	l := &s.lanes[cl.lane()]
	if !cl.owed {
		if l.queued >= limit {
			s.mu.Unlock()
			return false
		}
		l.queued++
	}
	l.calls = append(l.calls, cl)
	s.mu.Unlock()
	s.ring()
	return true
}

func (s *stream) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.ring()
}

// batches yields what has come in, a batch at a time, until the stream is closed and empty.
func (s *stream) batches(yield func([]call) bool) {
	var now, spare, some []call
	for {
		s.mu.Lock()
		now, s.lanes[urgent].calls = s.lanes[urgent].calls, spare[:0]
		some = s.lanes[yielding].cut(some[:0])
		closed := s.closed
		s.mu.Unlock()
		for rest := now; len(rest) > 0; {
			n := fitting(rest, maxBatch, maxWords)
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
		if len(some) > 0 && !yield(some) {
			return
		}
		if closed && len(now) == 0 && len(some) == 0 {
			return
		}
		if len(now) == 0 && len(some) == 0 {
			<-s.bell
		}
		clear(now)
		clear(some)
		spare = now
	}
}

// cut moves the first batch of the lane to room.
func (l *lane) cut(room []call) []call {
	n := fitting(l.calls, maxYieldBatch, maxYieldWords)
	room = append(room, l.calls[:n]...)
	clear(l.calls[:n])
	if l.calls = l.calls[n:]; len(l.calls) == 0 {
		l.calls = nil
	}
	return room
}

// fitting is how many of the calls fit into one batch: at least one.
func fitting(calls []call, most, words int) int {
	for i := range calls {
		if words -= len(calls[i].words); i >= most || words < 0 && i > 0 {
			return i
		}
	}
	return len(calls)
}

// answered takes calls out of the count of those that are queued.
func (s *stream) answered(calls []call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range calls {
		if !calls[i].owed {
			s.lanes[calls[i].lane()].queued--
		}
	}
}

// queued is how many calls are neither answered nor owed.
func (s *stream) queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes[urgent].queued + s.lanes[yielding].queued
}

// serve is the node's one goroutine that sends commands and takes in answers. Every batch ends by itself, because dialing,
// writing and reading are bounded by NodeTimeout.
func (n *Node) serve() {
	var b batch
	for calls := range n.stream.batches {
		n.exchange(calls, &b)
		b.clear()
	}
}

// batch is commands as go-redis takes them, in memory that is used again.
type batch struct {
	cmds  []redis.Cmder // of made
	made  []*redis.Cmd
	words []any // of the commands that do not share theirs with other nodes
}

func (b *batch) add(cl *call) {
	if len(b.cmds) == len(b.made) {
		b.made = append(b.made, new(redis.Cmd))
	}
	cmd := b.made[len(b.cmds)]
	b.words = cl.fill(cmd, b.words, cl.bySource)
	b.cmds = append(b.cmds, cmd)
}

// clear forgets the commands, and what they refer to.
func (b *batch) clear() {
	for _, cmd := range b.made[:len(b.cmds)] {
		*cmd = redis.Cmd{}
	}
	clear(b.cmds)
	clear(b.words)
	b.cmds, b.words = b.cmds[:0], b.words[:0]
}

// readMark is sent behind every batch: what it reads proves, or not, that answers of the batch count as votes.
var readMark = call{Command: Command{words: []any{"get", markKey}}}

// exchange sends calls as one batch, which is empty before, and delivers their answers. What waited for a node that went
// down meanwhile is not sent.
func (n *Node) exchange(calls []call, b *batch) {
	down := n.down.Load()
	for i := range calls {
		if cl := &calls[i]; down == nil || cl.recovery {
			b.add(cl)
		}
	}
	sending := len(b.cmds) > 0
	if sending {
		b.add(&readMark)
	}
	began := n.tel.Now()
	n.exec(b.cmds)
	n.report(began, b.cmds)
	n.stream.answered(calls)
	if sending {
		text, err := b.made[len(b.cmds)-1].Text()
		n.counts.Store((err == nil || errors.Is(err, redis.Nil)) && n.proved(text))
	}
	sent := b.made
	for i := range calls {
		if cl := &calls[i]; down == nil || cl.recovery {
			n.finish(cl, sent[0])
			sent = sent[1:]
		} else {
			deliver(cl.receiver, n, nil, n.refusal(down))
			n.c.end()
		}
	}
}

// exec fills in the answers to batch.
func (n *Node) exec(batch []redis.Cmder) {
	if len(batch) == 0 {
		return
	}
	defer func() {
		if p := recover(); p != nil { // go-redis does so at a reply of an absurd length
			unanswered(batch, fmt.Errorf("unreadable reply: %v", p))
		}
		for _, cmd := range batch {
			if err := cmd.Err(); lost(err) {
				n.trip(err)
				break
			}
		}
	}()
	pipe := n.client.Pipeline()
	pipe.BatchProcess(n.c.ctx, batch...)
	if _, err := pipe.Exec(n.c.ctx); err != nil {
		// go-redis gives a Redis error of the connection's set-up to none of the
		// commands, which look as if they were answered with nothing.
		unanswered(batch, notSetUp(err))
	}
}

// unanswered gives err to the commands that have neither an answer nor an error.
func unanswered(batch []redis.Cmder, err error) {
	for _, cmd := range batch {
		if cmd.Err() == nil && cmd.(*redis.Cmd).Val() == nil {
			cmd.SetErr(err)
		}
	}
}

func (n *Node) finish(cl *call, cmd *redis.Cmd) {
	err := cmd.Err()
	if err != nil && cl.script != nil && !cl.bySource && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		again := *cl
		again.bySource, again.owed = true, true
		n.stream.put(again, 0)
		return
	}
	if errors.Is(err, redis.ErrClosed) {
		err = ErrClosed
	}
	deliver(cl.receiver, n, cmd.Val(), err)
	n.c.end()
}

// lost reports whether err, of a command that was to be sent, speaks of a node that is to be asked no more for now.
func lost(err error) bool {
	return err != nil && (unable(err) || !answered(err) && !Unsent(err) && !errors.Is(err, redis.ErrClosed))
}
