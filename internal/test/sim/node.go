package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/marks"
)

// node is one in-memory Redis. It executes what arrives at the instant it arrives.
type node struct {
	w     *world
	index int
	drift float64       // its clock gains so much per second
	skew  time.Duration // and was so far off at the start
	aof   bool          // syncs every write: a restart forgets nothing, and is not quarantined
	drops bool          // it does forget, all but the mark: transactions in its file are dropped when it starts

	mu       sync.Mutex
	rng      *rand.Rand
	st       *store
	saved    *store // the last snapshot
	up       bool
	frozen   bool
	wrong    int      // of how many faults it answers wrongly
	waiting  []func() // what arrived while it was frozen
	life     int
	started  time.Time // by its own clock
	runID    string
	repl     string  // of its data; another once it has stood in for another server
	promoted bool    // it was a replica since it started
	copies   int     // how often it was one
	conns    []*conn // in the order in which they were made, so that a seed gives the same trace again
	executed int
	outbox   map[*conn][]byte // what one step answers
	order    []*conn          // in the order of their first answer
}

func newNode(w *world, i int) *node {
	n := &node{w: w, index: i, rng: w.stream("node", i), up: true, outbox: map[*conn][]byte{}}
	n.drift = (n.rng.Float64()*2 - 1) * w.plan.drift
	if w.sabotage.hastyClocks {
		n.drift = 2
	}
	n.skew = time.Duration((n.rng.Float64()*2 - 1) * float64(w.plan.skew))
	n.aof = n.rng.Float64() < 0.2
	n.drops = n.aof && n.rng.Float64() < 0.4
	if w.sabotage.hiddenDrops {
		n.aof, n.drops = true, true
	}
	n.use(newStore())
	n.saved = n.st.clone()
	n.begin()
	n.started = n.clock().Add(-w.plan.age)
	return n
}

func (n *node) use(s *store) {
	s.publish = n.publish
	s.stuck, s.immortal, s.unmarked = n.w.sabotage.stuckCounters, n.w.sabotage.immortalKeys, n.w.sabotage.noMarking
	s.unordered = func(key string) { n.w.violate("node %d: the counter %s went back", n.index, key) }
	n.st = s
}

func (n *node) begin() {
	n.life++
	n.runID = fmt.Sprintf("%020d%010d%010d", n.w.seed, n.index, n.life)
	n.repl, n.promoted = n.runID, false
	n.started = n.clock()
}

// clock is what the node's own clock shows.
func (n *node) clock() time.Time {
	gone := time.Since(n.w.start)
	return n.w.start.Add(n.skew + gone + time.Duration(float64(gone)*n.drift))
}

func (n *node) accept(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.up {
		n.conns = append(n.conns, c)
	}
	return n.up
}

// drop breaks the connections of a link.
func (n *node) drop(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = slices.DeleteFunc(n.conns, func(c *conn) bool {
		if c.l == l {
			c.reset()
		}
		return c.l == l
	})
}

func (n *node) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = slices.DeleteFunc(n.conns, func(other *conn) bool { return other == c })
}

// receive takes in a packet. Nothing arrives at a process that the connection was not made with.
func (n *node) receive(c *conn, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.conns, c) {
		return
	}
	c.inbox = append(c.inbox, data...)
	for {
		args, rest, ok := decode(c.inbox)
		if !ok {
			break
		}
		c.inbox = append([]byte(nil), rest...)
		n.doLocked(func() { n.answerLocked(c, args) })
		n.duplicateLocked([][]string{args})
	}
	n.flushLocked()
}

// doLocked executes a step now or, if the node is frozen, when it thaws.
func (n *node) doLocked(step func()) {
	if n.frozen {
		n.waiting = append(n.waiting, step)
		return
	}
	step()
}

// duplicateLocked has the node get a script or a transaction a second time, later, as from a proxy that repeats.
func (n *node) duplicateLocked(commands [][]string) {
	if first := strings.ToLower(commands[0][0]); !strings.HasPrefix(first, "eval") && len(commands) == 1 || n.rng.Float64() >= n.w.rate(0.01) {
		return
	}
	n.w.count("duplicate")
	n.w.agenda.at(time.Now().Add(time.Duration(1+n.rng.Int64N(int64(maxTTL)))), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.up {
			n.doLocked(func() {
				for _, args := range commands {
					n.executeLocked(args)
				}
			})
			n.flushLocked()
		}
	})
}

func (n *node) executeLocked(args []string) any {
	n.executed++
	n.st.now = n.clock()
	return n.st.do(args)
}

func (n *node) answerLocked(c *conn, args []string) {
	var v any
	switch name := strings.ToLower(args[0]); name {
	case "multi":
		c.multi, c.queue = true, nil
		v = status("OK")
	case "exec":
		v = n.transactLocked(c)
	case "hello":
		v = n.greetLocked(c, args)
	case "client":
		v = n.clientsLocked(args)
	case "info":
		v = n.infoLocked()
	case "config":
		v = []any{"appendfsync", map[bool]string{true: "always", false: "everysec"}[n.aof]}
	case "acl": // DRYRUN, of what is in its file
		v = status("OK")
		if n.drops && !n.w.sabotage.hiddenDrops {
			v = "User default has no permissions to run this command"
		}
	case "subscribe":
		for _, channel := range args[1:] { // each has an answer of its own
			if v != nil {
				n.sayLocked(c, v)
			}
			c.subs[channel] = true
			v = []any{"subscribe", channel, int64(len(c.subs))}
		}
		c.subscribed()
	case "unsubscribe":
		delete(c.subs, args[1])
		v = []any{"unsubscribe", args[1], int64(len(c.subs))}
	case "ping":
		v = status("PONG")
		if len(c.subs) > 0 {
			v = []any{"pong", ""}
		}
	default:
		if c.multi {
			c.queue = append(c.queue, args)
			v = status("QUEUED")
			break
		}
		v = n.executeLocked(args)
		if n.wrong > 0 && n.rng.IntN(2) == 0 {
			v = n.lieLocked(args, v)
		}
	}
	n.sayLocked(c, v)
}

// transactLocked executes what was queued, with nothing in between.
func (n *node) transactLocked(c *conn) any {
	if !c.multi {
		return failure("ERR EXEC without MULTI")
	}
	commands := c.queue
	c.multi, c.queue = false, nil
	replies := make([]any, len(commands))
	for i, args := range commands {
		replies[i] = n.executeLocked(args)
	}
	if len(commands) == 0 {
		return replies
	}
	n.duplicateLocked(commands)
	if n.wrong > 0 && n.rng.IntN(2) == 0 {
		return n.lieOfTransactionLocked()
	}
	return replies
}

func (n *node) infoLocked() string {
	runID, started := n.runID, n.started
	if n.w.sabotage.hiddenRestarts {
		runID, started = fmt.Sprintf("%020d%020d", n.w.seed, n.index), n.w.start.Add(-24*time.Hour)
	}
	aof := 0
	if n.aof {
		aof = 1
	}
	return fmt.Sprintf("redis_version:7.0.0\r\nrun_id:%s\r\nuptime_in_seconds:%d\r\naof_enabled:%d\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n"+
		"master_replid:%s\r\nsecond_repl_offset:%d\r\n",
		runID, int64(n.clock().Sub(started)/time.Second), aof, n.repl, map[bool]int{true: 1, false: -1}[n.promoted])
}

func (n *node) sayLocked(c *conn, v any) {
	if _, begun := n.outbox[c]; !begun {
		n.order = append(n.order, c)
	}
	n.outbox[c] = encode(n.outbox[c], v)
}

func (n *node) flushLocked() {
	for _, c := range n.order {
		c.reply(n.outbox[c])
	}
	n.order = n.order[:0]
	clear(n.outbox)
}

// publish is called by a script, while the node executes it.
func (n *node) publish(channel, text string) (received int) {
	if n.w.sabotage.noAnnouncing && strings.HasPrefix(text, "q") {
		return 0
	}
	for _, c := range n.conns {
		if c.subs[channel] {
			n.sayLocked(c, []any{"message", channel, text})
			received++
		}
	}
	return received
}

// memory is what a restart leaves of a node's data.
type memory int

const (
	kept memory = iota
	rolledBack
	lost
	dropped // all but the mark
)

func (m memory) String() string {
	return [...]string{"kept", "rolled back", "lost", "lost but for the mark"}[m]
}

// crash ends the process: connections break, and what was not executed is lost.
func (n *node) crash() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up, n.frozen, n.waiting = false, false, nil
	for _, c := range n.conns {
		c.reset()
	}
	n.conns = nil
}

// restart begins a new process.
func (n *node) restart(m memory) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.st
	switch m {
	case kept:
		n.use(n.st.clone())
	case rolledBack:
		n.use(n.saved.clone())
	case lost, dropped:
		n.use(newStore())
	}
	// Where restarts are hidden, the mark would tell of them.
	if e := before.keys[marks.Key]; e != nil && (m == dropped || n.w.sabotage.hiddenRestarts) {
		n.st.keys[marks.Key] = e
	}
	n.up = true
	n.begin()
}

// follow has the node be a replica of another for a moment, and a master again: it has the other's data then, and its own
// scripts.
func (n *node) follow(data *store) {
	n.mu.Lock()
	defer n.mu.Unlock()
	data.scripts = n.st.scripts
	n.use(data)
	n.copies++
	n.repl, n.promoted = fmt.Sprint(n.runID, "-", n.copies), true
}

// copy is the node's data, for one that follows it.
func (n *node) copy() *store {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.st.now = n.clock()
	return n.st.clone()
}

// turn sets the node's clock.
func (n *node) turn(by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.skew += by
	n.started = n.started.Add(by)
}

func (n *node) save() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.st.now = n.clock()
	n.saved = n.st.clone()
}

func (n *node) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen = true
}

func (n *node) thaw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen = false
	steps := n.waiting
	n.waiting = nil
	for _, step := range steps {
		step()
	}
	n.flushLocked()
}

func (n *node) isUp() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up && !n.frozen
}

// locks are the lock keys that live on the node now.
func (n *node) locks() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.st.now = n.clock()
	return n.st.locks()
}
