package nodeset

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/marks"
)

// errFull is the answer to a command above Config.MaxQueued.
var errFull = errors.New("too many commands wait for the node; see Config.MaxQueued")

// limits bounds one batch: all its answers have to come within NodeTimeout, and a node does little else until it has
// executed it.
type limits struct {
	calls int
	words int // which bound the work on the server
	bytes int // of arguments; 0: not bounded
}

var (
	urgentLimits = limits{calls: 512, words: 8192}
	bulkLimits   = limits{calls: 256, words: 1024, bytes: 1 << 20}
)

// firstCalls is how many commands the first batch of bulk work has, before any answer has shown how large answers are.
const firstCalls = 8

// maxReplies is how many bytes the answers to one batch of bulk work are to have, by the largest of the batch before.
const maxReplies = 1 << 20

// stream is the queue of commands of one urgency for one node. One goroutine
// sends them in batches, in order, over one connection at a time: commands that
// arrive while one batch is in progress form the next one.
type stream struct {
	limits limits

	mu       sync.Mutex
	calls    []call
	queued   int  // calls that are neither answered nor pending
	held     bool // by a call of Gather
	closed   bool
	notified chan struct{}
}

// A node has a stream for urgent commands, and one for those that yield: large answers on their way hold up only what is
// behind them on the same connection.
const urgent, yielding = 0, 1

func newStreams() [2]*stream {
	first := bulkLimits
	first.calls = firstCalls
	return [2]*stream{
		urgent:   {limits: urgentLimits, notified: make(chan struct{}, 1)},
		yielding: {limits: first, notified: make(chan struct{}, 1)},
	}
}

// stream is the one that a command goes through.
func (n *Node) stream(cl *call) *stream {
	if cl.yields() && !cl.probe {
		return n.streams[yielding]
	}
	return n.streams[urgent]
}

// call is one command on its way.
type call struct {
	Command
	receiver Receiver
	owed     bool // not counted against Config.MaxQueued
	recovery bool // is sent although the node is down
	probe    bool // a plain command that does not yield
	bySource bool
}

// send puts one command on the stream, whatever the breaker says.
func (n *Node) send(cl call) {
	err := ErrClosed
	if n.c.begin() {
		if n.stream(&cl).put(cl, n.c.cfg.MaxQueued) {
			return
		}
		defer n.c.end()
		err = errFull
	}
	deliver(cl.receiver, n, nil, err)
}

// put reports false if limit calls are queued already.
func (s *stream) put(cl call, limit int) bool {
	s.mu.Lock()
	if !cl.owed {
		if s.queued >= limit {
			s.mu.Unlock()
			return false
		}
		s.queued++
	}
	s.calls = append(s.calls, cl)
	s.mu.Unlock()
	s.notify()
	return true
}

func (s *stream) notify() {
	select {
	case s.notified <- struct{}{}:
	default:
	}
}

func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.notify()
}

// batches yields what has come in, a batch at a time, until the stream is closed and empty.
func (s *stream) batches(yield func([]call) bool) {
	var now, spare []call
	for {
		s.mu.Lock()
		if s.held { // unhold notifies
			s.mu.Unlock()
			<-s.notified
			continue
		}
		now, s.calls = s.calls, spare[:0]
		closed := s.closed
		s.mu.Unlock()
		for rest := now; len(rest) > 0; {
			n := s.limits.fitting(rest)
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
		if len(now) == 0 {
			if closed {
				return
			}
			<-s.notified
		}
		clear(now)
		if spare = now; cap(spare) > maxSpare {
			spare = nil
		}
	}
}

// maxSpare is for how many calls a stream keeps room.
const maxSpare = 1 << 14

// fitting is how many of the calls fit into one batch: at least one.
func (l limits) fitting(calls []call) int {
	words, bytes := l.words, l.bytes
	for i := range calls {
		if words -= calls[i].wordCount(); l.bytes > 0 {
			bytes -= calls[i].size()
		}
		if i >= l.calls || i > 0 && (words < 0 || bytes < 0) {
			return i
		}
	}
	return len(calls)
}

// learn fits the size of the next batch to the answers of one: at most twice as many, one alone where they are large, and
// half as many after a batch that was not answered.
func (s *stream) learn(cmds []*redis.Cmd) {
	if s.limits.bytes == 0 || len(cmds) == 0 {
		return
	}
	largest := 1
	for _, cmd := range cmds {
		if !answered(cmd.Err()) {
			s.limits.calls = max(1, s.limits.calls/2)
			return
		}
		largest = max(largest, sizeOf(cmd.Val()))
	}
	s.limits.calls = max(1, min(2*s.limits.calls, maxReplies/largest, bulkLimits.calls))
}

// size is that of the arguments of a call, in bytes.
func (cl *call) size() (bytes int) {
	for _, word := range cl.words {
		bytes += sizeOf(word)
	}
	return bytes
}

// sizeOf is that of an argument, or an answer, in bytes.
func sizeOf(v any) (bytes int) {
	switch v := v.(type) {
	case string:
		return len(v)
	case *string:
		return len(*v)
	case []byte:
		return len(v)
	case []any:
		for _, part := range v {
			bytes += sizeOf(part)
		}
		return bytes
	}
	return 8
}

// answered takes calls out of the count of those that are queued.
func (s *stream) answered(calls []call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range calls {
		if !calls[i].owed {
			s.queued--
		}
	}
}

// queued is how many calls are neither answered nor pending.
func (n *Node) queued() (sum int) {
	for _, s := range n.streams {
		s.mu.Lock()
		sum += s.queued
		s.mu.Unlock()
	}
	return sum
}

// serve is the one goroutine that sends the commands of a stream and takes in answers. Every batch ends by itself, because
// dialing, writing and reading are bounded by NodeTimeout.
func (n *Node) serve(s *stream) {
	var b batch
	for calls := range s.batches {
		n.exchange(s, calls, &b)
		s.learn(b.made[:len(b.cmds)])
		b.clear()
	}
}

// batch is commands as go-redis takes them, in memory that is used again.
type batch struct {
	cmds  []redis.Cmder // of made
	made  []*redis.Cmd
	words []any // of the commands that do not share theirs with other nodes
	wrote bool  // one of them may write
}

func (b *batch) add(cl *call) {
	b.wrote = b.wrote || !cl.reads()
	if cl.parts == nil {
		b.words = cl.fill(b.next(), b.words, cl.bySource)
		return
	}
	for _, words := range cl.parts {
		*b.next() = *redis.NewCmd(context.Background(), words...)
	}
}

// next is another command of the batch, to be filled in.
func (b *batch) next() *redis.Cmd {
	if len(b.cmds) == len(b.made) {
		b.made = append(b.made, new(redis.Cmd))
	}
	cmd := b.made[len(b.cmds)]
	b.cmds = append(b.cmds, cmd)
	return cmd
}

// clear drops the references to the commands and their data.
func (b *batch) clear() {
	for _, cmd := range b.made[:len(b.cmds)] {
		*cmd = redis.Cmd{}
	}
	clear(b.cmds)
	clear(b.words)
	b.cmds, b.words, b.wrote = b.cmds[:0], b.words[:0], false
}

// readMark is sent behind every urgent batch: its reply decides whether the
// answers of that batch count as votes.
var readMark = call{Command: Command{words: []any{"get", marks.Key}}}

// exchange sends calls as one batch, which is empty before, and delivers their
// answers. Calls for a node that went down in the meantime are not sent.
func (n *Node) exchange(s *stream, calls []call, b *batch) {
	down := n.down.Load()
	for i := range calls {
		if cl := &calls[i]; down == nil || cl.recovery {
			b.add(cl)
		}
	}
	marked := len(b.cmds) > 0 && s == n.streams[urgent]
	if marked {
		b.add(&readMark)
	}
	began := n.tel.Now()
	n.exec(s, b.cmds, b.wrote)
	n.report(began, b.cmds)
	s.answered(calls)
	if marked {
		text, err := b.made[len(b.cmds)-1].Text()
		n.counts.Store((err == nil || errors.Is(err, redis.Nil)) && n.proved(text))
	}
	sent := b.made
	for i := range calls {
		if cl := &calls[i]; down == nil || cl.recovery {
			n.finish(cl, sent[:cl.length()])
			sent = sent[cl.length():]
		} else {
			deliver(cl.receiver, n, nil, n.refusal(down))
			n.c.end()
		}
	}
}

// exec fills in the answers to batch.
func (n *Node) exec(s *stream, batch []redis.Cmder, wrote bool) {
	if len(batch) == 0 {
		return
	}
	defer func() {
		if p := recover(); p != nil { // a reply that go-redis does not expect must not end the process
			unanswered(batch, fmt.Errorf("unreadable reply: %v", p))
		}
		n.judge(s, batch, wrote)
	}()
	pipe := n.client.Pipeline()
	pipe.BatchProcess(n.c.ctx, batch...)
	if _, err := pipe.Exec(n.c.ctx); err != nil {
		// go-redis returns a Redis error of the connection's set-up for none of
		// the commands, which then seem to have empty answers.
		unanswered(batch, notSetUp(err))
	}
}

// judge takes the node down if a command of a batch was lost. Bulk work may only be late because it is large.
func (n *Node) judge(s *stream, batch []redis.Cmder, wrote bool) {
	for _, cmd := range batch {
		switch err := cmd.Err(); {
		case !lost(err):
		case s == n.streams[yielding]:
			n.suspect(err, wrote)
			return
		default:
			n.trip(err)
			return
		}
	}
	if s == n.streams[yielding] && answered(batch[0].Err()) {
		n.timely()
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

func (n *Node) finish(cl *call, sent []*redis.Cmd) {
	reply, err := outcome(sent)
	if err != nil && cl.script != nil && !cl.bySource && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		again := *cl
		again.bySource, again.owed = true, true
		n.stream(&again).put(again, 0)
		return
	}
	if errors.Is(err, redis.ErrClosed) {
		err = ErrClosed
	}
	deliver(cl.receiver, n, reply, err)
	n.c.end()
}

// lost reports whether err, the error of a command, means that the node must be
// marked down.
func lost(err error) bool {
	return err != nil && (unable(err) || !answered(err) && !Unsent(err) && !errors.Is(err, redis.ErrClosed))
}
