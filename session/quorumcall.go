package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// outOfBandSize is the size of arguments from which a command is sent outside
// the nodes' streams. Nothing here depends on the order of commands.
const outOfBandSize = 16 << 10

// question is a command for all nodes.
type question struct {
	script *nodeset.Script
	key    string // after the memory's key
	args   []any  // after the common ones, and after the memory of a write
	write  bool   // has an effect only if the node still has the expected memory
	probe  bool   // does not begin a memory
	size   int
	now    time.Time
}

// asked is the state of a node when it was asked: the run of its server, and
// the memory that a write expects.
type asked struct{ run, memory string }

// reply is the answer of one node: its status, its memory, and the other words.
type reply struct {
	node   *nodeset.Node
	status string
	memory string
	rest   []any
}

// quorumCall sends all nodes a question and waits until enough have answered.
// The cluster waits for later answers.
type quorumCall struct {
	s      *Store
	q      question
	enough func() bool         // called after each answer, under mu
	take   func(r reply) error // adds an answer, under mu
	late   func(r reply)       // receives an answer that arrived after enough others, without mu
	common []any               // arguments of every script
	asked  []asked             // by node
	among  map[int]string      // the nodes to ask, each with the memory that a write expects; nil: all, with their current memory

	mu     sync.Mutex
	open   int
	failed []cluster.NodeError
	again  []int // how many times each node was asked again
	ended  bool
	done   chan struct{}
}

// maxAgain bounds how many times a node is asked again because its memory was
// not the expected one.
const maxAgain = 3

func (s *Store) newQuorumCall(q question) *quorumCall {
	nodes := len(s.c.Nodes())
	return &quorumCall{
		s: s, q: q, open: nodes, done: make(chan struct{}), asked: make([]asked, nodes), again: make([]int, nodes),
	}
}

// common returns the arguments of every script after the run of the server.
func (s *Store) common(q question) []any {
	return []any{s.newMemory(q), stamp(q.now.UnixMicro()), s.cfg.Prefix}
}

// run asks the nodes and waits. The error has ctx.Err() and its cause in its
// chain.
func (p *quorumCall) run(ctx context.Context) error {
	if err := errs.Ended(ctx); err != nil {
		return err
	}
	p.common = p.s.common(p.q)
	if p.among != nil {
		p.open = len(p.among)
	}
	for _, n := range p.s.c.Nodes() {
		if _, ok := p.among[n.Index()]; ok || p.among == nil {
			p.ask(n)
		}
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = true
		return errs.Ended(ctx)
	}
}

func (p *quorumCall) ask(n *nodeset.Node) {
	i := n.Index()
	run := n.MemoryID()
	memory := p.s.memories.of(i)
	if p.among != nil {
		memory = p.among[i]
	}
	p.mu.Lock()
	p.asked[i] = asked{run, memory}
	p.mu.Unlock()
	p.s.send(n, p.q, p.common, run, memory, p)
}

// send asks one node, and drops the answer if r is nil. A write has no effect
// unless the node has this memory.
func (s *Store) send(n *nodeset.Node, q question, common []any, run, memory string, r nodeset.Receiver) {
	args := make([]any, 0, 2+len(common)+len(q.args))
	args = append(append(args, run), common...)
	if q.write {
		args = append(args, memory)
	}
	args = append(args, q.args...)
	if q.size < outOfBandSize {
		n.Run(q.script, []string{s.memoryKey, q.key}, args, r)
	} else {
		n.RunOutOfBand(q.script, []string{s.memoryKey, q.key}, args, r)
	}
}

// Receive implements nodeset.Receiver.
func (p *quorumCall) Receive(n *nodeset.Node, words any, err error) {
	r, err := p.read(n, words, err)
	p.mu.Lock()
	if err == nil && r.status == "memory" && p.mayAskAgain(n) {
		p.again[n.Index()]++
		p.mu.Unlock()
		p.ask(n)
		return
	}
	if p.ended {
		p.mu.Unlock()
		if err == nil && p.late != nil {
			p.late(r)
		}
		return
	}
	defer p.mu.Unlock()
	p.open--
	if err == nil {
		err = p.take(r)
	}
	if err != nil {
		p.failed = append(p.failed, cluster.NodeError{Node: n.Name(), Err: err})
	}
	if p.enough() || p.open == 0 {
		p.ended = true
		close(p.done)
	}
}

// mayAskAgain reports whether a node may be asked again with the memory that it
// has instead of the expected one. After enough answers this holds only for a
// node whose memory was unknown: any other node has lost its data since.
func (p *quorumCall) mayAskAgain(n *nodeset.Node) bool {
	i := n.Index()
	return p.among == nil && p.again[i] < maxAgain && (!p.ended || p.asked[i].memory == "")
}

// read parses a reply. The answer of a server that was replaced since it was
// asked is an error.
func (p *quorumCall) read(n *nodeset.Node, words any, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	all, ok := words.([]any)
	if !ok || len(all) < 2 {
		return reply{}, fmt.Errorf("unexpected reply (%T)", words)
	}
	status, ok1 := all[0].(string)
	memory, ok2 := all[1].(string)
	if !ok1 || !ok2 || micros(memory) == 0 && (memory != "" || !p.q.probe) {
		return reply{}, fmt.Errorf("unexpected reply (%T)", words)
	}
	p.mu.Lock()
	run := p.asked[n.Index()].run
	p.mu.Unlock()
	if run != n.MemoryID() {
		return reply{}, fmt.Errorf("it restarted during the request")
	}
	if memory != "" {
		p.s.memories.learn(n.Index(), memory)
	}
	return reply{n, status, memory, all[2:]}, nil
}

// word returns the ith string after the memory, or "".
func (r reply) word(i int) string {
	if i >= len(r.rest) {
		return ""
	}
	s, _ := r.rest[i].(string)
	return s
}
