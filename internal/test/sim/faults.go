package sim

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// fault is something that begins, lasts and is over. It returns what ends it, or nil if it cannot happen now.
type fault struct {
	name   string
	weight int
	begin  func(w *world, rng *rand.Rand) (end func())
}

var faults = []fault{
	{"crash", 5, crash},
	{"freeze", 3, freeze},
	{"cut", 4, cut},
	{"standstill", 2, standstill},
	{"process ends", 1, endProcess},
	{"rolling restart", 1, roll},
	{"gap", 4, gap},
	{"wrong node", 3, wrong},
	{"empty disk", 2, emptyDisk},
	{"role", 2, role},
	{"move", 2, move},
	{"kill", 1, kill},
}

// hurt inflicts faults until the world's time for it is over, and ends them all.
func (w *world) hurt() {
	rng := w.stream("faults", 0)
	until := w.start.Add(w.plan.length)
	var under sync.WaitGroup
	for {
		pause := time.Duration(rng.ExpFloat64() * float64(w.plan.calm))
		if !time.Now().Add(pause).Before(until) {
			break
		}
		time.Sleep(pause + time.Duration(1+rng.IntN(1000)))
		w.nodes[rng.IntN(len(w.nodes))].save()
		w.inflict(rng, &under)
	}
	under.Wait()
}

func (w *world) inflict(rng *rand.Rand, under *sync.WaitGroup) {
	all := 0
	for _, f := range faults {
		all += f.weight
	}
	pick := rng.IntN(all)
	for _, f := range faults {
		if pick -= f.weight; pick >= 0 {
			continue
		}
		lasts := time.Duration(1 + rng.ExpFloat64()*float64(maxTTL/3))
		if rng.Float64() < 0.4 {
			lasts = time.Duration(1 + rng.Int64N(int64(nodeTimeout)))
		}
		if rng.Float64() < 0.05 {
			lasts = time.Duration(1 + rng.Int64N(int64(3*maxTTL)))
		}
		if end := f.begin(w, rng); end != nil {
			w.count(f.name)
			under.Go(func() { time.Sleep(lasts); end() })
		}
		return
	}
}

// mayForget reports whether a node is left that has not forgotten within one quarantine if n does. It shows that the set is
// not new to a process that starts while the others are cut off. Scenes have sets that lose everything.
func (w *world) mayForget(n *node) bool {
	if w.sabotage.hiddenRestarts || w.sabotage.hiddenDrops {
		return true
	}
	const window = 2*maxTTL + 4*time.Second
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, list := range w.lists {
		if !slices.ContainsFunc(list, func(i int) bool { return w.nodes[i] == n }) {
			continue
		}
		left := 0
		for _, i := range list {
			if at, ever := w.forgot[w.nodes[i].index]; w.nodes[i] != n && (!ever || time.Since(at) >= window) {
				left++
			}
		}
		if left == 0 {
			return false
		}
	}
	return true
}

// stays reports whether the node is in the set, and neither came just now nor is about to leave.
func (w *world) stays(n *node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.nodes, n)
	return slices.Contains(w.lists[0], i) && (w.lists[1] == nil || slices.Contains(w.lists[1], i))
}

func (w *world) forget(n *node, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgot[n.index] = at
}

// crash ends a node's process.
func crash(w *world, rng *rand.Rand) func() {
	n := w.nodes[rng.IntN(len(w.nodes))]
	m := kept
	switch {
	case !w.plan.forgets:
	case n.drops:
		m = dropped
	case !n.aof:
		m = []memory{kept, rolledBack, lost, lost}[rng.IntN(4)]
	}
	if !n.isUp() || m != kept && !w.mayForget(n) {
		return nil
	}
	w.log("node %d crashes, its memory %s", n.index, m)
	n.crash()
	if m != kept {
		w.forget(n, time.Now().Add(time.Hour)) // until it is back
	}
	return func() {
		n.restart(m)
		if m != kept {
			w.forget(n, time.Now())
		}
		w.log("node %d is back", n.index)
	}
}

// emptyDisk has a node that syncs every write come back with nothing, as on another disk, or one whose clock is an hour slow,
// until somebody sets it right: by its uptime it has run for an hour then.
func emptyDisk(w *world, rng *rand.Rand) func() {
	n := w.nodes[rng.IntN(len(w.nodes))]
	slow := rng.IntN(2) == 0
	if !w.plan.forgets || !n.isUp() || !slow && !n.aof || !w.mayForget(n) {
		return nil
	}
	wrong := time.Duration(1 + rng.Int64N(int64(maxTTL/2))) // for how long the clock is
	w.log("node %d crashes, its disk is another, its clock slow: %t", n.index, slow)
	n.crash()
	w.forget(n, time.Now().Add(time.Hour))
	if slow {
		n.turn(-time.Hour)
	}
	return func() {
		n.restart(lost)
		w.forget(n, time.Now())
		w.log("node %d is back", n.index)
		if slow {
			w.agenda.at(time.Now().Add(wrong), func() {
				w.log("the clock of node %d is set right", n.index)
				n.turn(time.Hour)
			})
		}
	}
}

// role has a node of the set be a replica of another for a moment. One that comes or goes has no other's data: a resize refuses
// it, as long as no program that lists it has seen that. A node with the data of one that was removed stops programs that list
// it from starting, until it is emptied: its mark says that their list is an old one.
func role(w *world, rng *rand.Rand) func() {
	n, other := w.nodes[rng.IntN(len(w.nodes))], w.nodes[rng.IntN(len(w.nodes))]
	if n == other || !w.stays(n) || w.plan.tour != nil && !w.stays(other) || !w.plan.forgets || !n.isUp() || !other.isUp() || !w.mayForget(n) {
		return nil
	}
	w.log("node %d follows node %d for a moment", n.index, other.index)
	n.follow(other.copy())
	w.forget(n, time.Now())
	return func() {}
}

// move has the name of a node lead to another server, which is empty, while the old one runs on.
func move(w *world, rng *rand.Rand) func() {
	i := rng.IntN(len(w.nodes))
	from, to := w.nodes[i], w.spareNode()
	if !w.plan.forgets || to == nil || !from.isUp() || !w.mayForget(from) {
		return nil
	}
	w.log("the name of node %d leads to node %d", from.index, to.index)
	w.forget(from, time.Now())
	w.forget(to, time.Now())
	w.nodes[i] = to
	for _, row := range w.links {
		row[i].move(to)
	}
	return func() {
		time.Sleep(2 * maxTTL) // it is another's until nobody uses it any more
		from.crash()
		from.restart(lost)
	}
}

// spareNode is a node that no name leads to, and that nobody has used lately.
func (w *world) spareNode() *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.all {
		if !slices.Contains(w.nodes, n) && time.Since(w.forgot[n.index]) > 5*maxTTL {
			return n
		}
	}
	return nil
}

// kill ends a client's process so that no node hears of it.
func kill(w *world, rng *rand.Rand) func() {
	c := w.clients[rng.IntN(len(w.clients))]
	if !c.halt() {
		return nil
	}
	w.log("client %d is killed", c.index)
	for _, l := range w.links[c.index] {
		l.disconnect(true)
	}
	c.end()
	return func() {
		for _, l := range w.links[c.index] {
			l.disconnect(false)
		}
		c.goOn()
	}
}

// roll restarts all nodes, each in a moment, one of them without its memory, and those that drop transactions as they do,
// and has a process begin that has met none of them before.
func roll(w *world, rng *rand.Rand) func() {
	client := w.clients[rng.IntN(len(w.clients))]
	forgetful := w.nodes[rng.IntN(len(w.nodes))]
	forgets := w.plan.forgets && !forgetful.aof && w.mayForget(forgetful)
	for _, i := range rng.Perm(len(w.nodes)) {
		n, m := w.nodes[i], kept
		if !n.isUp() {
			continue
		}
		switch {
		case n == forgetful && forgets:
			m = lost
		case n.drops && w.plan.forgets && w.mayForget(n):
			m = dropped
		}
		w.log("node %d restarts, its memory %s", i, m)
		if m != kept {
			w.forget(n, time.Now())
		}
		n.crash()
		n.restart(m)
		time.Sleep(time.Duration(1 + rng.Int64N(int64(nodeTimeout))))
	}
	client.end()
	return func() {}
}

func freeze(w *world, rng *rand.Rand) func() {
	n := w.nodes[rng.IntN(len(w.nodes))]
	if !n.isUp() {
		return nil
	}
	w.log("node %d freezes", n.index)
	n.freeze()
	return func() {
		n.thaw()
		w.log("node %d thaws", n.index)
	}
}

// cut severs a client from some nodes, in one direction or both.
func cut(w *world, rng *rand.Rand) func() {
	client, ways := rng.IntN(len(w.clients)), 1+rng.IntN(3)
	first, many := rng.IntN(len(w.nodes)), 1+rng.IntN(len(w.nodes))
	set := func(on bool) {
		for i := range many {
			l := w.links[client][(first+i)%len(w.nodes)]
			for way := range 2 {
				if ways&(1<<way) != 0 {
					l.sever(way, on)
				}
			}
		}
	}
	w.log("client %d is cut off from %d nodes from %d on, ways %d", client, many, first, ways)
	set(true)
	return func() {
		set(false)
		w.log("client %d is reconnected", client)
	}
}

// gap breaks a client's connections to some nodes, and lets it make no others for a while. What the nodes publish
// meanwhile is lost.
func gap(w *world, rng *rand.Rand) func() {
	client := rng.IntN(len(w.clients))
	first, many := rng.IntN(len(w.nodes)), 1+rng.IntN(len(w.nodes))
	return w.disconnect(client, first, many)
}

func (w *world) disconnect(client, first, many int) (end func()) {
	set := func(on bool) {
		for i := range many {
			w.links[client][(first+i)%len(w.nodes)].disconnect(on)
		}
	}
	w.log("client %d loses its connections to %d nodes from %d on", client, many, first)
	set(true)
	return func() {
		set(false)
		w.log("client %d can connect again", client)
	}
}

// wrong has a node answer scripts wrongly, and send messages that nothing is behind.
func wrong(w *world, rng *rand.Rand) func() {
	n := w.nodes[rng.IntN(len(w.nodes))]
	if !n.isUp() {
		return nil
	}
	w.log("node %d goes wrong", n.index)
	n.goWrong(true)
	return func() {
		n.goWrong(false)
		w.log("node %d is right again", n.index)
	}
}

// standstill stops a client's network and its work.
func standstill(w *world, rng *rand.Rand) func() {
	return w.stop(w.clients[rng.IntN(len(w.clients))])
}

// stop returns nil if the client stands still already. The nodes take it for a subscriber all the while.
func (w *world) stop(c *client) (goOn func()) {
	if !c.halt() {
		return nil
	}
	set := func(on bool) {
		for _, l := range w.links[c.index] {
			l.sever(there, on)
			l.sever(back, on)
		}
	}
	w.log("client %d stands still", c.index)
	set(true)
	return func() {
		set(false)
		c.goOn()
		w.log("client %d goes on", c.index)
	}
}

func endProcess(w *world, rng *rand.Rand) func() {
	c := w.clients[rng.IntN(len(w.clients))]
	c.end()
	return func() {}
}
