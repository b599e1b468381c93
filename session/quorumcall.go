package session

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

var (
	//go:embed scripts/lib.lua
	lib string
	//go:embed scripts/load.lua
	loadSource string
	//go:embed scripts/commit.lua
	commitSource string
	//go:embed scripts/put.lua
	putSource string
	//go:embed scripts/tombstone.lua
	tombstoneSource string
	//go:embed scripts/drop.lua
	dropSource string
	//go:embed scripts/list.lua
	listSource string
	//go:embed scripts/logout.lua
	logoutSource string

	loadScript      = cluster.NewScript("load session", lib+loadSource).Yielding()
	commitScript    = cluster.NewScript("commit session", lib+commitSource).Yielding()
	putScript       = cluster.NewScript("put session", lib+putSource).Yielding()
	tombstoneScript = cluster.NewScript("bury session", lib+tombstoneSource).Yielding()
	dropScript      = cluster.NewScript("drop deleted fields", lib+dropSource).Yielding()
	listScript      = cluster.NewScript("list sessions", lib+listSource).Yielding()
	logoutScript    = cluster.NewScript("log out", lib+logoutSource).Yielding()
)

// outOfBandSize is the size of arguments from which a command does not go through the nodes' streams. Nothing here
// depends on the order of commands.
const outOfBandSize = 16 << 10

// question is what all nodes are asked.
type question struct {
	script *cluster.Script
	key    string // behind the memory's
	args   []any  // behind the common ones, and the memory of a write
	write  bool   // it is for one memory of the node, and does nothing in another
	meets  bool   // it begins no memory
	size   int
	now    time.Time
}

// asked is what was known of a node when it was asked: what its memory lasts with, and for which one a write is.
type asked struct{ run, memory string }

// reply is what one node answered: the status, and what the script says behind its memory.
type reply struct {
	node   *cluster.Node
	status string
	memory string
	rest   []any
}

// quorumCall asks all nodes and waits until the answers suffice. Its answers that come later are the cluster's.
type quorumCall struct {
	s      *Store
	q      question
	enough func() bool         // asked after each answer, under mu
	take   func(r reply) error // takes in an answer, under mu
	late   func(r reply)       // gets an answer that came when there were enough, without mu
	common []any               // arguments
	asked  []asked             // by node
	among  map[int]string      // the nodes to ask, and the memory of each that a write is for; nil: all, as they are

	mu     sync.Mutex
	open   int
	failed []cluster.NodeError
	again  []int // how often each node was asked again
	ended  bool
	done   chan struct{}
}

// maxAgain bounds how often a node is asked again because its memory was not the one that was expected.
const maxAgain = 3

func (s *Store) newQuorumCall(q question) *quorumCall {
	nodes := len(s.c.Nodes())
	return &quorumCall{
		s: s, q: q, open: nodes, done: make(chan struct{}), asked: make([]asked, nodes), again: make([]int, nodes),
	}
}

// common is the arguments of every script behind the run of the server.
func (s *Store) common(q question) []any {
	return []any{s.newMemory(q), stamp(q.now.UnixMicro()), s.cfg.Prefix}
}

// run asks and waits. The error has ctx.Err() in its chain, and its cause.
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

func (p *quorumCall) ask(n *cluster.Node) {
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

// send asks one node, and drops the answer if r is nil. A write does nothing in another memory than this one.
func (s *Store) send(n *cluster.Node, q question, common []any, run, memory string, r cluster.Receiver) {
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

// Receive implements cluster.Receiver.
func (p *quorumCall) Receive(n *cluster.Node, words any, err error) {
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

// mayAskAgain reports whether a node may be asked for the memory that it has instead of the one it was asked for. When there
// were enough answers, only one of which nothing was known: another has forgotten what happened since.
func (p *quorumCall) mayAskAgain(n *cluster.Node) bool {
	i := n.Index()
	return p.among == nil && p.again[i] < maxAgain && (!p.ended || p.asked[i].memory == "")
}

// read takes a reply apart. What a server answered that was another when it was asked says nothing.
func (p *quorumCall) read(n *cluster.Node, words any, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	all, ok := words.([]any)
	if !ok || len(all) < 2 {
		return reply{}, fmt.Errorf("unexpected reply (%T)", words)
	}
	status, ok1 := all[0].(string)
	memory, ok2 := all[1].(string)
	if !ok1 || !ok2 || micros(memory) == 0 && (memory != "" || !p.q.meets) {
		return reply{}, fmt.Errorf("unexpected reply (%T)", words)
	}
	p.mu.Lock()
	run := p.asked[n.Index()].run
	p.mu.Unlock()
	if run != n.MemoryID() {
		return reply{}, fmt.Errorf("it was restarted while it was asked")
	}
	if memory != "" {
		p.s.memories.learn(n.Index(), memory)
	}
	return reply{n, status, memory, all[2:]}, nil
}

// word is the ith string behind the memory, or "".
func (r reply) word(i int) string {
	if i >= len(r.rest) {
		return ""
	}
	s, _ := r.rest[i].(string)
	return s
}

// count is the outcome of a write: how many nodes said what.
type count struct {
	ok, gone, absent int
	out              map[string]int    // those where the session ended for a rival, by that
	stale            int               // those who have dropped fields since
	floors           []version         // of those of which what was put does not know
	none             []answer          // those who have nothing of the session
	newest           version           // what those who refused have that is newer
	deadline         string            // of a session that was buried
	late             string            // the deadline of a session that was to go on for longer
	next             string            // the session that has replaced it
	more             map[string]string // fields that a predecessor had besides
}

// write is a quorumCall that counts. It ends when a quorum has done what was asked, or cannot any more.
type write struct {
	*quorumCall
	count count
}

func (s *Store) newWrite(q question) *write {
	q.write = true
	w := &write{quorumCall: s.newQuorumCall(q)}
	quorum := s.c.Quorum()
	w.take = func(r reply) error { return w.count.take(r) }
	w.enough = func() bool { return w.count.ok >= quorum || w.count.ok+w.open < quorum }
	return w
}

// wait says how the nodes answered, and has an error if ctx ended before.
func (w *write) wait(ctx context.Context) (count, []cluster.NodeError, error) {
	if err := w.s.meet(ctx); err != nil {
		return count{}, nil, err
	}
	if err := w.run(ctx); err != nil {
		return count{}, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count, w.failed, nil
}

func (s *Store) write(ctx context.Context, q question) (count, []cluster.NodeError, error) {
	return s.newWrite(q).wait(ctx)
}

func (c *count) take(r reply) error {
	now := time.Now()
	switch r.status {
	case "ok":
		deadline, next := r.word(0), r.word(1)
		if deadline != "" && !isTime(deadline, timeWidth) || next != "" && !valid(next) {
			return errForeign
		}
		c.ok++
		c.deadline, c.next = max(c.deadline, deadline), max(c.next, next)
		return c.takeMore(r)
	case "gone":
		if err := checkEpoch(r.word(0), now); err != nil {
			return err
		}
		c.gone++
	case "absent":
		c.absent++
	case "out":
		if !valid(r.word(0)) {
			return errForeign
		}
		if err := checkEpoch(r.word(1), now); err != nil {
			return err
		}
		if c.out == nil {
			c.out = map[string]int{}
		}
		c.out[r.word(0)]++
	case "late":
		if !isTime(r.word(0), timeWidth) {
			return errForeign
		}
		c.late = r.word(0)
	case "stale":
		c.stale++
		return c.takeMore(r)
	case "none":
		c.absent++
		c.none = append(c.none, answer{node: r.node.Index(), memory: r.memory})
	case "newer":
		if err := checkVersion(r.word(0), latest(now)); err != nil {
			return err
		}
		c.newest = max(c.newest, r.word(0))
	case "memory":
		return errForgot
	default:
		return fmt.Errorf("unexpected answer %q", r.status)
	}
	return nil
}

func (c *count) takeMore(r reply) error {
	if len(r.rest) < 3 {
		return nil
	}
	more, _ := r.rest[2].([]any)
	latest := latest(time.Now())
	for i := 1; i < len(more); i += 2 {
		name, _ := more[i-1].(string)
		value, _ := more[i].(string)
		if err := checkField(name, value, latest); err != nil {
			return err
		}
		if name == floorField {
			c.floors = append(c.floors, value[:versionWidth])
			continue
		}
		if c.more == nil {
			c.more = map[string]string{}
		}
		if have := c.more[name]; have == "" || have[:versionWidth] < value[:versionWidth] {
			c.more[name] = value
		}
	}
	return nil
}

// errForgot is why a node did not do what it was asked to.
var errForgot = errors.New("it has forgotten what it knew, and remembers anew")

func (s *Store) noQuorum(op, hashed string, got int, failed []cluster.NodeError) error {
	return &cluster.QuorumError{Op: op + " session", Key: s.label(hashed), Need: s.c.Quorum(), Got: got, Nodes: failed}
}

func (s *Store) wrap(op, hashed string, err error) error {
	return errs.Errorf("redlock: %s session %q: %w", op, s.label(hashed), err)
}
