package nodeset

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/telemetry"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// Set is a set of independent nodes. All methods may be called concurrently. It
// belongs to one process: what it sends carries its process id.
type Set struct {
	cfg     Config
	tel     *telemetry.Telemetry // nil: nothing is reported
	events  events
	health  health
	nodes   []*Node
	process string
	epoch   time.Time

	ctx    context.Context // ends when the streams have been drained
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the cluster and its nodes

	closing    atomic.Bool   // no new operations
	leaving    chan struct{} // closed with that
	dead       atomic.Bool   // no new commands
	unanswered atomic.Int64  // commands whose answer is awaited
	idle       chan struct{} // notified when unanswered may have reached zero while closing
	closed     chan struct{}
	once       sync.Once

	record        atomic.Pointer[record] // of the set, once a quorum of nodes was seen to carry it
	changed       atomic.Int64           // c.since time from which votes count again, after another record came into force
	reckoning     sync.Mutex             // orders looks at all marks
	opened        atomic.Bool            // all nodes were tried
	bootstrapping atomic.Bool            // somebody sees to it that there is a record
	settling      sync.Once
	settled       chan struct{} // closed when there is a record, or will be none for a while
	unfit         error         // why there will be none

	spawnMu sync.Mutex // orders spawn before the final wait

	mu      sync.Mutex
	servers map[string]*Node // by run_id

	mail   mailbox
	queues *waitqueue.Queues
}

// openTries is how many times NodeTimeout Open keeps trying to reach a quorum
// under a context without a deadline.
const openTries = 8

// Open connects to the nodes. It succeeds as soon as it has tried each node and
// a quorum can be used. The others are down: they are logged, and probed until
// they recover.
//
// It fails at once with an error that matches [ErrConfig] if cfg is bad, or if so
// many nodes cannot be used that no quorum is left: a replica, a server listed
// under two addresses, a refused password, a certificate that does not verify,
// each named. It fails with a [*QuorumError] if no quorum answered before ctx's
// deadline; without a deadline, within eight times Config.NodeTimeout.
//
// ctx bounds the opening only. The caller must Close the Set.
func Open(ctx context.Context, cfg Config) (*Set, error) {
	cfg = cfg.withDefaults()
	targets, err := cfg.targets()
	if err := errors.Join(cfg.validate(), err); err != nil {
		return nil, err
	}
	c := &Set{
		cfg: cfg, process: rand.Text(), epoch: time.Now(),
		idle: make(chan struct{}, 1), leaving: make(chan struct{}), closed: make(chan struct{}), settled: make(chan struct{}),
		servers: map[string]*Node{}, queues: waitqueue.New(len(targets), cfg.Quorum),
	}
	if c.tel, err = telemetry.New(cfg.MeterProvider, cfg.TracerProvider, cfg.KeyAttribute); err != nil {
		return nil, configerr.Field("Config.MeterProvider", "%v", err)
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for i, t := range targets {
		c.add(i, t)
	}
	name := c.clientName()
	for _, n := range c.nodes { // before the first connection
		n.clientName = name
	}
	c.watch()
	if err := c.meet(ctx); err != nil {
		c.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	c.opened.Store(true)
	c.startBootstrap()
	c.openMailbox()
	if err := c.awaitBootstrap(ctx); err != nil {
		c.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	c.logQuorumChange()
	if len(c.nodes)%2 == 0 {
		c.Say(slog.LevelInfo, "an even number of nodes tolerates no more failures than one fewer", "nodes", len(c.nodes))
	}
	return c, nil
}

func (c *Set) add(i int, t target) {
	n := &Node{c: c, index: i, name: t.name, isCluster: t.isCluster, canFailOver: t.canFailOver, protocol: t.protocol, runIDs: map[string]bool{}, tel: c.tel.Node(t.name), streams: newStreams()}
	n.large = make(chan struct{}, largeAtOnce)
	n.witness.name = url.QueryEscape(t.name)
	n.client = t.open(tuning{timeout: c.cfg.NodeTimeout, lifetime: c.cfg.lifetime(), onConnect: n.observe})
	c.nodes = append(c.nodes, n)
	for _, s := range n.streams {
		c.spawn(func() { n.serve(s) })
	}
}

// meet contacts every node, and keeps trying where a quorum is missing.
func (c *Set) meet(ctx context.Context) error {
	budget, cancel := ctx, func() {}
	if _, bounded := ctx.Deadline(); !bounded {
		budget, cancel = context.WithTimeout(ctx, openTries*c.cfg.NodeTimeout)
	}
	defer cancel()
	pace := newPace()
	m := meeting{c: c, failed: c.nodes, last: make([]error, len(c.nodes))}
	for {
		m.try(budget)
		got, need := len(c.nodes)-len(m.failed), c.Quorum()
		switch {
		case c.record.Load() == nil && !c.cfg.Partial && slices.ContainsFunc(m.wrong, isListed): // the others make no set without it
			return fmt.Errorf("%w: %w", ErrConfig, errors.Join(m.wrong...))
		case got >= need || c.cfg.Partial:
			for _, n := range m.failed {
				n.trip(m.last[n.index])
			}
			return nil
		case len(c.nodes)-len(m.wrong) < need:
			return fmt.Errorf("%w: %w", ErrConfig, errors.Join(m.wrong...))
		}
		select {
		case <-budget.Done():
			missing := &QuorumError{Op: "open", Need: need, Got: got, Nodes: m.down()}
			if ctx.Err() != nil {
				return errs.Errorf("%w: %w", missing, errs.Ended(ctx))
			}
			return missing
		case <-time.After(pace.NextBackOff()):
		}
	}
}

// meeting is how far Open has come with its nodes.
type meeting struct {
	c      *Set
	failed []*Node // those that were not reached
	wrong  []error // of those among them that cannot be used
	last   []error // why each was not reached, by index
}

// try probes the nodes that were not reached, all at once.
func (m *meeting) try(ctx context.Context) {
	var next []*Node
	m.wrong = nil
	for i, err := range m.c.probeAll(ctx, m.failed) {
		n := m.failed[i]
		if err == nil {
			continue
		}
		if Unusable(err) {
			m.wrong = append(m.wrong, &NodeError{n.name, err})
		}
		if m.last[n.index] == nil || ctx.Err() == nil { // else it says only that the time is over
			m.last[n.index] = n.explain(err)
		}
		next = append(next, n)
	}
	m.failed = next
}

func (m *meeting) down() (all []NodeError) {
	for _, n := range m.failed {
		all = append(all, NodeError{n.name, m.last[n.index]})
	}
	return all
}

func (c *Set) probeAll(ctx context.Context, nodes []*Node) []error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = n.probe(ctx) })
	}
	wg.Wait()
	return errs
}

// Unusable reports whether err says of a node that it cannot be used until the server, its URL, or the list of nodes is
// fixed.
func Unusable(err error) bool {
	var same *sameServerError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var op *net.OpError
	var old *oldVersionError
	var list *listError
	var place *placeError
	for _, kind := range []any{&old, &list, &place, &same, &cert, &record, &authority} {
		if errors.As(err, kind) {
			return true
		}
	}
	if errors.Is(err, errReplica) || errors.Is(err, errSentinel) {
		return true
	}
	if errors.As(err, &op) && op.Op == "remote error" { // crypto/tls: the server refused the handshake
		return true
	}
	for _, word := range []string{"WRONGPASS", "NOAUTH", "NOPERM", "WRONGTYPE", "ERR invalid password", "ERR DB index", "ERR AUTH"} {
		if saidBy(err, word) {
			return true
		}
	}
	return false
}

// Process is this Cluster's random id. Every value begins with it, and the
// channel of its mailbox is named after it.
func (c *Set) Process() string { return c.process }

// Nodes are the nodes, in a stable order. The slice must not be changed.
func (c *Set) Nodes() []*Node { return c.nodes }

// Quorum is how many nodes must agree: Config.Quorum.
func (c *Set) Quorum() int { return c.cfg.Quorum }

// Queues are the local waiters for keys on these nodes. The nodes know only the
// process, so everything that waits on this set shares them.
func (c *Set) Queues() *waitqueue.Queues { return c.queues }

// Config is the configuration with its defaults filled in.
func (c *Set) Config() Config { return c.cfg }

// Err is ErrClosed once Close was called. Of a nil Set it is an error that
// matches ErrConfig.
func (c *Set) Err() error {
	if c == nil {
		return errNil
	}
	if c.closing.Load() {
		return ErrClosed
	}
	return nil
}

// Close stops new operations, waits until every command that was sent has its
// answer, and then closes all connections. Locks that are still held stay on
// the nodes until their TTL; close what holds them first. So do locks whose
// release is pending for a node that is down or refuses it. It may be called
// again; every call waits. If ctx ends first, closing continues in the
// background.
func (c *Set) Close(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.once.Do(func() {
		c.closing.Store(true)
		close(c.leaving)
		go c.shutdown()
	})
	select {
	case <-c.closed:
		return nil
	case <-ctx.Done():
		return errs.Ended(ctx)
	}
}

func (c *Set) shutdown() {
	defer close(c.closed)
	c.tel.Close()
	c.drain()
	c.spawnMu.Lock()
	c.dead.Store(true)
	c.spawnMu.Unlock()
	c.drain() // what began between the last look and the refusal of more
	c.cancel()
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(func() {
			for _, s := range n.streams {
				s.close()
			}
			n.client.Close()
		})
	}
	wg.Wait()
	c.wg.Wait()
}

// drain waits until no answer is awaited.
func (c *Set) drain() {
	for c.unanswered.Load() > 0 {
		<-c.idle
	}
}

// begin counts a command that is about to be sent. It reports false when none may be sent any more.
func (c *Set) begin() bool {
	c.unanswered.Add(1)
	if c.dead.Load() {
		c.end()
		return false
	}
	return true
}

// end counts an answer. Any command that the answer made necessary has been
// sent by then, so zero means that nothing follows.
func (c *Set) end() {
	if c.unanswered.Add(-1) == 0 && c.closing.Load() {
		select {
		case c.idle <- struct{}{}:
		default:
		}
	}
}

// spawn runs fn on a goroutine that Close waits for. It reports false, and does not run fn, once the streams are shut.
func (c *Set) spawn(fn func()) bool {
	c.spawnMu.Lock()
	defer c.spawnMu.Unlock()
	if c.dead.Load() {
		return false
	}
	c.wg.Go(fn)
	return true
}

// pause waits for d. It reports false when the cluster closed meanwhile.
func (c *Set) pause(d time.Duration) bool {
	if d <= 0 {
		return c.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// since is now as nanoseconds of monotonic time, for atomics.
func (c *Set) since(now time.Time) int64 { return int64(now.Sub(c.epoch)) }

// claim gives the server with this run_id to n unless another node has it, and returns whose it is.
func (c *Set) claim(runID string, n *Node) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, taken := c.servers[runID]; taken {
		return other
	}
	c.servers[runID] = n
	return n
}

// disclaim records that n has another server now. Answers of the old one on n's
// connections no longer prove a vote.
func (c *Set) disclaim(runID string, n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.servers[runID] == n {
		delete(c.servers, runID)
	}
}
