package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// tours are the sizes that a set has, one after another, in worlds in which it is resized.
var tours = [][]int{
	{1, 2, 3}, {3, 4, 5}, {2, 3}, {3, 2}, {5, 4, 3}, {5, 4, 3}, {3, 2, 1}, {3, 2, 3}, {2, 1, 2}, {4, 5, 4}, {1, 2, 3, 4, 5, 4, 3},
}

// resizeSpan is about how long one step takes: two quarantines, and the time to restart all programs.
const resizeSpan = 9 * time.Second

// drawResize draws whether the set of a world is resized, and how.
func drawResize(p *plan, rng *rand.Rand) {
	if rng.Float64() >= 0.03 {
		return
	}
	p.tour = tours[rng.IntN(len(tours))]
	p.nodes = slices.Max(p.tour) + 1
	p.length = time.Duration(len(p.tour)-1) * resizeSpan
	p.clients++
	if rng.IntN(2) == 0 {
		p.calm *= 4
	}
}

// keepsRecords reports whether checkpoints outlast the tour: once the set has been resized, the last copy may be on a node
// that is removed.
func (p plan) keepsRecords() bool {
	for i := 2; i < len(p.tour); i++ {
		if p.tour[i] < p.tour[i-1] {
			return false
		}
	}
	return true
}

// operator resizes the set of a world: by the command, which is killed at any moment, beside a second one at times. It gives
// programs the new list when the command asks for that.
type operator struct {
	w     *world
	rng   *rand.Rand
	links []*link
	pause time.Duration // between two steps, or two programs that are restarted, at most

	mu   sync.Mutex
	next []int // the list that is to come
	roll bool  // the command waits for programs with the old one
}

// operate goes through the tour, as far as it comes while the faults last.
func (w *world) operate() {
	o := &operator{w: w, rng: w.stream("operator", 0), links: w.links[len(w.clients)], pause: time.Second}
	if o.rng.IntN(2) == 0 {
		o.pause = time.Duration(1+o.rng.IntN(20)) * time.Millisecond
	}
	for _, size := range w.plan.tour[1:] {
		list := w.list()
		next := slices.Clone(list)
		var add, remove string
		if size > len(list) {
			i := o.pick(func(i int) bool { return !slices.Contains(list, i) })
			next, add = append(next, i), "redis://"+nodeName(i)
		} else {
			i := o.pick(func(i int) bool { return slices.Contains(list, i) })
			next, remove = slices.DeleteFunc(next, func(j int) bool { return j == i }), nodeName(i)
		}
		slices.Sort(next)
		w.log("the set is resized from %v to %v", list, next)
		w.prepare(next)
		o.next = next
		o.step(union(list, next), add, remove)
		w.adopt(next)
		w.count("resize")
		if !w.faulty.Load() {
			break
		}
	}
	o.restart(func() bool { return true })
}

// pick draws one of the nodes of which ok is true.
func (o *operator) pick(ok func(i int) bool) int {
	for {
		if i := o.rng.IntN(len(o.w.nodes)); ok(i) {
			return i
		}
	}
}

func union(a, b []int) []int {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// step changes the set by one node.
func (o *operator) step(list []int, add, remove string) {
	if add != "" {
		list = slices.DeleteFunc(list, func(i int) bool { return "redis://"+nodeName(i) == add })
	}
	var wg sync.WaitGroup
	ctx, done := context.WithCancel(context.Background())
	wg.Go(func() { o.restart(func() bool { return ctx.Err() != nil }) })
	for i := range 1 + o.rng.IntN(2) {
		rng := rand.New(rand.NewPCG(o.rng.Uint64(), uint64(i)))
		wg.Go(func() {
			o.command(ctx, rng, list, add, remove)
			done()
		})
	}
	wg.Wait()
	done()
}

// command runs the command until the step is made, by this one or another.
func (o *operator) command(ctx context.Context, rng *rand.Rand, list []int, add, remove string) {
	const patience = time.Minute
	var calm time.Time // when it was first run after the faults
	for ctx.Err() == nil {
		rest(ctx, time.Duration(1+rng.Int64N(int64(o.pause))))
		lasts := time.Duration(1 + rng.ExpFloat64()*float64(6*time.Second))
		if !o.w.faulty.Load() {
			if calm.IsZero() {
				calm = time.Now()
			}
			lasts = time.Until(calm.Add(patience))
		}
		life, kill := context.WithTimeout(ctx, lasts)
		err := o.once(life, list, add, remove)
		kill()
		if err == nil {
			return
		}
		o.w.log("the command for the resize ends: %v", err)
		if !calm.IsZero() && time.Since(calm) > patience && ctx.Err() == nil {
			o.w.violate("a resize does not end after the faults: %v", err)
			return
		}
	}
}

// once is one run of the command.
func (o *operator) once(ctx context.Context, list []int, add, remove string) error {
	clients := map[string]redis.UniversalClient{}
	for _, i := range list {
		clients[nodeName(i)] = o.links[i].client()
	}
	if add != "" {
		i := slices.IndexFunc(o.links, func(l *link) bool { return "redis://"+nodeName(l.index) == add })
		clients[nodeName(i)] = o.links[i].client()
	}
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	r, err := nodeset.NewResize(nodeset.Config{Clients: clients, MaxTTL: maxTTL, NodeTimeout: nodeTimeout, Logger: quiet}, add, remove, o.hear)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	return r.Run(ctx)
}

// hear takes in what the command says.
func (o *operator) hear(format string, args ...any) {
	text, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n")
	o.w.log("resize: %s", text)
	if strings.HasPrefix(text, "Give all programs the new list") {
		o.mu.Lock()
		o.roll = true
		o.mu.Unlock()
	}
}

// restart gives new processes the new list once the command asks for that, and has those with the old one end, one after
// another, until enough says so and none has it.
func (o *operator) restart(enough func() bool) {
	for {
		o.mu.Lock()
		asked := o.roll
		o.roll = false
		o.mu.Unlock()
		if asked {
			o.w.adopt(o.next)
		}
		list := o.w.list()
		old := slices.DeleteFunc(slices.Clone(o.w.clients), func(c *client) bool { return slices.Equal(c.hasList(), list) })
		if len(old) > 0 {
			old[o.w.drawn(len(old))].end()
		} else if enough() {
			return
		}
		time.Sleep(time.Duration(1 + o.w.drawn(int(o.pause/2))))
	}
}

// list has the process use these nodes.
func (p *process) list(nodes []int) {
	if p.clients != nil && slices.Equal(p.c.hasList(), nodes) {
		return
	}
	p.closeClients()
	p.clients = map[string]redis.UniversalClient{}
	for _, i := range nodes {
		p.clients[nodeName(i)] = p.c.w.links[p.c.index][i].client()
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.list = nodes
}

func (p *process) closeClients() {
	for _, cl := range p.clients {
		cl.Close()
	}
}

// hasList is the list of the client's process.
func (c *client) hasList() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list
}

// greetLocked answers HELLO, with which a client gives its connection a name.
func (n *node) greetLocked(c *conn, args []string) any {
	if i := slices.IndexFunc(args, func(s string) bool { return strings.EqualFold(s, "setname") }); i > 0 && i+1 < len(args) {
		c.name = args[i+1]
	}
	return []any{"server", "redis", "version", "7.0.0", "proto", int64(2)}
}

// clientsLocked answers CLIENT LIST.
func (n *node) clientsLocked(args []string) any {
	if len(args) != 2 || !strings.EqualFold(args[1], "list") {
		return failure("ERR unknown subcommand")
	}
	var b strings.Builder
	for i, c := range n.conns {
		if !c.dead() {
			fmt.Fprintf(&b, "id=%d name=%s\n", i, c.name)
		}
	}
	return b.String()
}
