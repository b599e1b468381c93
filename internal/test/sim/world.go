package sim

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	nodeTimeout = 50 * time.Millisecond
	maxTTL      = 2 * time.Second
)

// Sabotage breaks a world on purpose, to show that the checks see it.
type Sabotage struct {
	hiddenRestarts bool // nodes do not tell that they have restarted
	hiddenDrops    bool // nodes that drop transactions when they start say that they do not
	stuckCounters  bool // fence counters are read and never written
	hastyClocks    bool // nodes' clocks run three times too fast
	immortalKeys   bool // nodes let no key expire
	blindStore     bool // the guarded store takes every token
	noAnnouncing   bool // nodes do not tell a holder that another process waits
	noMarking      bool // nodes forget whom they have woken
}

// plan is what kind of world a seed makes.
type plan struct {
	nodes, clients, workers, keys int

	length  time.Duration // how long faults last
	latency time.Duration
	skew    time.Duration
	drift   float64
	age     time.Duration // of the nodes at the start
	ttl     time.Duration
	retain  time.Duration // 0 in half of the worlds
	limit   int           // of the keys that several hold at once; 0 in half of the worlds, which have none
	shared  float64       // how many acquisitions are those of readers; none in half of the worlds
	forgets bool
	calm    time.Duration // between two faults, on average
	scene   *scene        // what is played when the faults are over; nil for nothing
	tour    []int         // the sizes that the set has; nil in most worlds, in which it has one
}

// sizes are the numbers of nodes that a set may have. Three is the most common.
var sizes = []int{1, 2, 3, 3, 3, 4, 4, 5, 6, 7}

func drawPlan(rng *rand.Rand) plan {
	p := plan{
		nodes: sizes[rng.IntN(len(sizes))], clients: 2 + rng.IntN(2), workers: 1 + rng.IntN(2), keys: 1,
		length:  time.Duration(2500+rng.IntN(4000)) * time.Millisecond,
		latency: time.Duration(200+rng.IntN(3000)) * time.Microsecond,
		skew:    time.Duration(rng.IntN(800)) * time.Millisecond,
		drift:   rng.Float64() * 0.004,
		age:     time.Hour,
		ttl:     time.Duration(400+rng.IntN(1200)) * time.Millisecond,
		forgets: rng.Float64() < 0.7,
		calm:    time.Duration(150+rng.IntN(1500)) * time.Millisecond,
	}
	if rng.Float64() < 0.2 {
		p.age = 0 // a new set
	}
	if rng.Float64() < 0.25 {
		p.calm = time.Duration(40+rng.IntN(80)) * time.Millisecond
	}
	if rng.Float64() < 0.2 {
		p.scene = &scenes[rng.IntN(len(scenes))]
	}
	if rng.IntN(2) == 0 {
		p.retain = time.Duration(1+rng.Int64N(2*int64(p.ttl/time.Microsecond))) * time.Microsecond
	}
	if rng.IntN(2) == 0 {
		p.limit = 1 + rng.IntN(3)
	}
	if rng.IntN(2) == 0 {
		p.shared = 0.2 + 0.7*rng.Float64()
	}
	return p
}

// world is one simulation.
type world struct {
	seed     uint64
	plan     plan
	sabotage Sabotage
	start    time.Time
	nodes    []*node   // by name: those of the set, and of a set that is resized those that may come to be
	all      []*node   // and those that names do not lead to, or no longer
	links    [][]*link // by client and node, and those of the operator
	clients  []*client
	judge    *judge
	agenda   *agenda
	faulty   atomic.Bool
	calm     chan *process // gets the process of each client that has outlived the faults; nil if it has none
	played   chan struct{} // closed when the scene is over

	mu     sync.Mutex
	forgot map[int]time.Time // when a node last forgot
	lists  [2][]int          // of nodes, by index: what programs are given, and what a resize makes of it, or has made it from
	rolls  *rand.Rand        // for the restarts of programs
	trace  []string
	totals Totals
}

// Totals is what worlds come to.
type Totals struct {
	Seeds, Operations, Acquisitions, HandOvers, Losses, Writes, Refused, Commands int

	Violations int
	Virtual    time.Duration
	Faults     map[string]int
}

// String is one line.
func (t Totals) String() string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(t.Faults)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, t.Faults[kind]))
	}
	return fmt.Sprintf("%d seeds, %v of virtual time, %d operations, %d commands, %d acquisitions, %d hand-overs, %d losses, "+
		"%d guarded writes, %d refused; faults: %s; %d violations",
		t.Seeds, t.Virtual.Round(time.Second), t.Operations, t.Commands, t.Acquisitions, t.HandOvers, t.Losses,
		t.Writes, t.Refused, strings.Join(kinds, ", "), t.Violations)
}

// Add adds o.
func (t *Totals) Add(o Totals) {
	t.Seeds += o.Seeds
	t.Operations += o.Operations
	t.Acquisitions += o.Acquisitions
	t.HandOvers += o.HandOvers
	t.Losses += o.Losses
	t.Writes += o.Writes
	t.Refused += o.Refused
	t.Commands += o.Commands
	t.Violations += o.Violations
	t.Virtual += o.Virtual
	if t.Faults == nil {
		t.Faults = map[string]int{}
	}
	for kind, n := range o.Faults {
		t.Faults[kind] += n
	}
}

// Result is how a world went.
type Result struct {
	Totals
	Trace      []string
	Violations []string
}

// Run plays the world of a seed to its end. It belongs into a synctest bubble.
func Run(seed uint64, s Sabotage) Result {
	w := &world{seed: seed, sabotage: s, start: time.Now(), forgot: map[int]time.Time{}}
	w.totals.Faults = map[string]int{}
	w.judge, w.agenda = newJudge(w), newAgenda()
	defer w.agenda.close()
	rng := w.stream("plan", 0)
	w.plan = drawPlan(rng)
	drawResize(&w.plan, w.stream("resize", 0))
	if s.hastyClocks {
		w.plan.skew = 0
	}
	w.log("%d nodes, sizes %v, %d clients with %d workers, %d keys, limit %d, ttl %v, retain %v, shared %.2f, latency %v, faults for %v",
		w.plan.nodes, w.plan.tour, w.plan.clients, w.plan.workers, w.plan.keys, w.plan.limit, w.plan.ttl, w.plan.retain, w.plan.shared, w.plan.latency, w.plan.length)
	w.calm, w.played = make(chan *process, w.plan.clients), make(chan struct{})
	for i := range w.plan.nodes + 1 {
		w.all = append(w.all, newNode(w, i))
	}
	w.nodes = slices.Clone(w.all[:w.plan.nodes])
	w.rolls = w.stream("rolls", 0)
	for i := range w.nodes {
		if w.plan.tour == nil || i < w.plan.tour[0] {
			w.lists[0] = append(w.lists[0], i)
		}
	}
	for i := range w.plan.clients {
		w.links = append(w.links, w.linksOf(i))
		w.clients = append(w.clients, newClient(w, i))
	}
	if w.plan.tour != nil {
		w.links = append(w.links, w.linksOf(w.plan.clients))
	}
	w.play()
	w.totals.Seeds, w.totals.Virtual = 1, time.Since(w.start)
	w.totals.Violations = len(w.judge.violations)
	for _, n := range w.all {
		w.totals.Commands += n.executed
	}
	return Result{w.totals, w.trace, w.judge.violations}
}

// play is the order of events.
func (w *world) play() {
	ctx, stop := context.WithCancel(context.Background())
	var lives sync.WaitGroup
	for _, c := range w.clients {
		lives.Go(func() { c.live(ctx) })
	}
	w.faulty.Store(true)
	var resized sync.WaitGroup
	if w.plan.tour != nil {
		resized.Go(w.operate)
	}
	w.hurt()
	w.faulty.Store(false)
	w.log("the faults are over")
	resized.Wait()
	stop()
	w.playScene()
	if !within(&lives, 2*time.Minute) {
		w.violate("a process did not come to its end")
	}
	time.Sleep(maxTTL + maxTTL/10)
	for _, n := range w.all {
		if left := n.locks(); len(left) > 0 {
			w.violate("node %d: %v left one TTL after the end", n.index, left)
		}
	}
}

// linksOf are the ways from a client to all nodes.
func (w *world) linksOf(client int) (row []*link) {
	for i, n := range w.nodes {
		row = append(row, &link{w: w, n: n, index: i, seed: w.stream("link", client*100+i).Uint64()})
	}
	return row
}

// list is the nodes that programs are given now, by index.
func (w *world) list() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lists[0]
}

// members are the nodes of the set.
func (w *world) members() (all []*node) {
	for _, i := range w.list() {
		all = append(all, w.nodes[i])
	}
	return all
}

// prepare says that the set is to have another list.
func (w *world) prepare(next []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists[1] = next
}

// adopt has programs be given the list from now on.
func (w *world) adopt(list []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(list, w.lists[0]) {
		w.lists = [2][]int{list, w.lists[0]}
	}
}

// drawn is a number below n for the restarts of programs.
func (w *world) drawn(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rolls.IntN(n)
}

// within waits for wg, at most for d.
func within(wg *sync.WaitGroup, d time.Duration) bool {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

// stream is a source of random numbers of its own for each part of the world, so that no part depends on when another
// draws.
func (w *world) stream(name string, i int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, name, i)
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// rate is p while faults last.
func (w *world) rate(p float64) float64 {
	if w.faulty.Load() {
		return p
	}
	return 0
}

func (w *world) count(fault string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.totals.Faults[fault]++
}

func (w *world) tally(add func(*Totals)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	add(&w.totals)
}

func (w *world) log(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%14.9f  ", time.Since(w.start).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.log("VIOLATION: %s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judge.violations = append(slices.Clip(w.judge.violations), text)
}
