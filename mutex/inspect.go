package mutex

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// Inspection is how a lock stands, as the nodes said. It may be otherwise by the time it is looked at.
type Inspection struct {
	Key    string
	State  State
	Holder Holder // whom the most nodes name
	Votes  int    // how many nodes name it; votes of nodes that do not vote at present are not counted
	Need   int    // a quorum

	// Token is the newest fencing token that the holder can have: the last of the block that its process owns, of which it
	// uses one after another, up to MaxTokenBlock of them; a lock of package lock owns 64 at least. 0: the nodes do not
	// agree on one, too few answered, or the holder has none.
	Token int64

	// Left is when another could have the key, if its holder neither renews nor releases it; negative: never. It says nothing
	// where State is Unknown.
	Left time.Duration

	Waiting int      // processes that queue for it
	Waiters []Waiter // the first of them

	Views []View // what each node said
	value string
}

// State is how many nodes a lock's holder has.
type State uint8

const (
	Free    State = iota // no node names a holder
	Held                 // a quorum names the same
	Partial              // some nodes name one, too few: it is being acquired or released, or is left over and expires
	Unknown              // so few nodes answered that it may be any
)

func (s State) String() string { return [...]string{"free", "held", "partial", "unknown"}[s] }

// Waiter is a process that waits.
type Waiter struct {
	Process string    // the first letters of its id
	Since   time.Time // when it queued, by the node's clock
}

// View is what one node said of a lock.
type View struct {
	Node    string
	Err     error // why it did not answer
	Votes   bool  // its grants count at present
	Holder  Holder
	Left    time.Duration // until the key expires there; negative: it never does
	Fence   int64         // the fence counter; 0: there is none
	Waiting int

	waiters []Waiter
	value   string
	noFence string // what stands there instead of a fence counter
}

// namedWaiters is how many of the waiting processes an Inspection names.
const namedWaiters = 16

// Inspect asks all nodes how the lock stands, and waits for each to answer or to be found down. With fewer answers than a
// quorum it returns what they said and a *cluster.QuorumError; ctx.Err() is in the chain if ctx ended first.
func (r *Redlock) Inspect(ctx context.Context, key string) (Inspection, error) {
	if err := r.checkKey(key); err != nil {
		return Inspection{}, err
	}
	all, err := r.inspect(ctx, []string{key}, namedWaiters)
	if err != nil {
		return Inspection{}, err
	}
	return all[0], quorumOf(r.c, "inspect", key, all[0].Views)
}

// quorumOf is the error of too few views.
func quorumOf(c *cluster.Cluster, op, key string, views []View) error {
	var silent []cluster.NodeError
	for _, v := range views {
		if v.Err != nil {
			silent = append(silent, cluster.NodeError{Node: v.Node, Err: v.Err})
		}
	}
	if got := len(views) - len(silent); got < c.Quorum() {
		return &cluster.QuorumError{Op: op, Key: key, Need: c.Quorum(), Got: got, Nodes: silent}
	}
	return nil
}

// inspectBatch is how many locks a node is asked about at once: what else this process sends waits so long.
const inspectBatch = 256

// List inspects the locks whose keys begin with prefix, in the order of their keys. It finds each that a quorum has
// throughout, if a quorum of nodes can be asked. With fewer it returns what they said, which may be a part only, and a
// *cluster.QuorumError. Nodes are scanned
// (cluster.Node.Scan), which takes time with the number of all their keys, and needs a right that locks do not, see
// cluster.OperatorRights. Waiters are counted, not named.
func (r *Redlock) List(ctx context.Context, prefix string) ([]Inspection, error) {
	names, short := r.scan(ctx, prefix)
	if short != nil && !errors.Is(short, cluster.ErrNoQuorum) {
		return nil, short
	}
	var found []Inspection
	for batch := range slices.Chunk(names, inspectBatch) {
		some, err := r.inspect(ctx, batch, 0)
		if err != nil {
			return nil, err
		}
		for _, i := range some {
			if short == nil {
				short = quorumOf(r.c, "list", "", i.Views)
			}
			if i.Holder.Writer != NoWriter && !i.companion(r.LockKey(i.Key)) {
				found = append(found, i)
			}
		}
	}
	return found, short
}

// scan is the keys of locks, and of some of what belongs to locks, that any node has.
func (r *Redlock) scan(ctx context.Context, prefix string) ([]string, error) {
	names, short, err := r.scanFor(ctx, r.LockKey(prefix), func(name string) string { return strings.TrimPrefix(name, r.cfg.Prefix) })
	return names, cmp.Or(err, short)
}

// WithCompanion is the keys with this prefix that have a companion of this suffix on some node, in order. The error is a
// *cluster.QuorumError if fewer nodes than a quorum could be scanned, as in List.
func (r *Redlock) WithCompanion(ctx context.Context, prefix, suffix string) ([]string, error) {
	lock := func(name string) string { // what it belongs to
		stem, _ := strings.CutSuffix(name, ":"+suffix)
		for _, lock := range []string{stem, strings.TrimSuffix(strings.TrimPrefix(stem, "{"), "}")} {
			if strings.HasPrefix(lock, r.LockKey(prefix)) && Companion(lock, suffix) == name {
				return strings.TrimPrefix(lock, r.cfg.Prefix)
			}
		}
		return ""
	}
	plain, short1, err1 := r.scanFor(ctx, "{"+r.LockKey(prefix), lock)
	tagged, short2, err2 := r.scanFor(ctx, r.LockKey(prefix), lock)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	all := append(plain, tagged...)
	slices.Sort(all)
	return slices.Compact(all), cmp.Or(short1, short2)
}

// scanFor is what keyOf makes of the names on any node that begin with prefix, without what it makes "" of. short is a
// *cluster.QuorumError if too few nodes could be scanned.
func (r *Redlock) scanFor(ctx context.Context, prefix string, keyOf func(name string) string) (all []string, short, err error) {
	var mu sync.Mutex
	names := map[string]bool{}
	views := make([]View, len(r.c.Nodes()))
	var wg sync.WaitGroup
	for i, n := range r.c.Nodes() {
		wg.Go(func() {
			err := n.Scan(ctx, prefix, func(keys []string) {
				mu.Lock()
				defer mu.Unlock()
				for _, key := range keys {
					if key = keyOf(key); key != "" {
						names[key] = true
					}
				}
			})
			views[i] = View{Node: n.Name(), Err: err}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, nil, errs.Errorf("redlock: list: %w", errs.Ended(ctx))
	}
	return slices.Sorted(maps.Keys(names)), quorumOf(r.c, "list", "", views), nil
}

// companion reports whether this is no lock, but what belongs to one whose key has a hash tag: the others do not begin with
// the prefix.
func (i Inspection) companion(lock string) bool {
	colon := strings.LastIndexByte(lock, ':')
	if colon < 0 || !tagged(lock[:colon]) || i.Holder.Writer != WriterForeign {
		return false
	}
	return slices.Contains(companions, lock[colon:])
}

// inspect asks all nodes about some keys at once.
func (r *Redlock) inspect(ctx context.Context, keys []string, named int) ([]Inspection, error) {
	nodes := r.c.Nodes()
	g := &gathering{all: make([]Inspection, len(keys)), open: len(keys) * len(nodes), done: make(chan struct{})}
	for i, key := range keys {
		g.all[i] = Inspection{Key: key, Need: r.c.Quorum(), Views: make([]View, len(nodes))}
	}
	for _, n := range nodes {
		for i, key := range keys {
			companions := namesOf(r.LockKey(key))
			n.Run(inspectScript, companions[:], []any{named}, viewer{g, i})
		}
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		return nil, errs.Errorf("redlock: inspect %q: %w", keys[0], errs.Ended(ctx))
	}
	for i := range g.all {
		g.all[i].judge()
	}
	return g.all, nil
}

// gathering is what the nodes have said so far.
type gathering struct {
	mu   sync.Mutex
	all  []Inspection
	open int
	done chan struct{}
}

// viewer takes in the answers about one of the keys.
type viewer struct {
	g *gathering
	i int
}

func (w viewer) Receive(n *cluster.Node, reply any, err error) {
	v, err := readView(reply, err)
	v.Node, v.Err, v.Votes = n.Name(), err, err == nil && n.Votes()
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	w.g.all[w.i].Views[n.Index()] = v
	if w.g.open--; w.g.open == 0 {
		close(w.g.done)
	}
}

// readView reads a reply of the inspect script.
func readView(reply any, err error) (v View, _ error) {
	if err != nil {
		return v, err
	}
	words, _ := reply.([]any)
	if len(words) != 6 {
		return v, badReply("inspect", reply)
	}
	kind, ok0 := words[0].(int64)
	value, ok1 := words[1].(string)
	left, ok2 := words[2].(int64)
	fence, ok3 := words[3].(string)
	queued, ok4 := words[4].(int64)
	first, ok5 := words[5].([]any)
	if !ok0 || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return v, badReply("inspect", reply)
	}
	switch {
	case kind == 2 || kind == 1 && value == "":
		v.Holder = Holder{Writer: WriterForeign}
	case kind == 1:
		v.Holder, v.value = readValue(value), value
	}
	if v.Holder.Writer != NoWriter {
		v.Left = time.Duration(min(max(left, -1), 1<<40)) * time.Millisecond
	}
	if f, err := strconv.ParseInt(fence, 10, 64); err == nil && f > 0 && f < 1<<53 {
		v.Fence = f
	} else if fence != "0" {
		v.noFence = fence
	}
	v.Waiting = int(min(max(queued, 0), 1<<30))
	v.waiters = readWaiters(first)
	return v, nil
}

func readWaiters(words []any) (all []Waiter) {
	for i := 0; i+1 < len(words); i += 2 {
		process, _ := words[i].(string)
		score, _ := words[i+1].(string)
		w := Waiter{Process: process[:min(len(process), shownProcess)]}
		if us, err := strconv.ParseFloat(score, 64); err == nil && us > 0 && us < 1<<53 {
			w.Since = time.UnixMicro(int64(us))
		}
		all = append(all, w)
	}
	return all
}

// judge works out what the views come to.
func (i *Inspection) judge() {
	names, votes, silent := map[string]int{}, map[string]int{}, 0
	foreign := false
	for _, v := range i.Views {
		switch {
		case v.Err != nil:
			silent++
		case v.Holder.Writer != NoWriter:
			names[v.value]++ // what is no value at all counts as one
			foreign = foreign || v.value == ""
			if v.Votes {
				votes[v.value]++
			}
		}
		if v.Waiting > i.Waiting {
			i.Waiting, i.Waiters = v.Waiting, v.waiters
		}
	}
	most := 0
	for value, n := range names {
		if n > most || n == most && value > i.value {
			most, i.value = n, value
		}
	}
	i.Votes = votes[i.value]
	switch {
	case most >= i.Need:
		i.State = Held
	case most+silent >= i.Need:
		i.State = Unknown
	case most > 0:
		i.State = Partial
	}
	if most > 0 {
		i.judgeHolder()
	}
}

// judgeHolder fills in what is known of the holder, whose value is i.value.
func (i *Inspection) judgeHolder() {
	fences, silent, taken := map[int64]int{}, 0, 0
	var lefts []time.Duration
	for _, v := range i.Views {
		switch {
		case v.Err != nil:
			silent++
		case v.Holder.Writer != NoWriter:
			taken++
			left := v.Left
			if left < 0 {
				left = math.MaxInt64
			}
			lefts = append(lefts, left)
			if v.value == i.value {
				i.Holder = v.Holder
				fences[v.Fence]++
			}
		}
	}
	slices.Sort(lefts)
	if short := i.Need - (len(i.Views) - taken); short > 0 { // so many have to expire
		i.Left = lefts[short-1]
	}
	if i.Left == math.MaxInt64 {
		i.Left = -1
	}
	var most int64
	for fence, n := range fences {
		if cmp.Or(cmp.Compare(n, fences[most]), cmp.Compare(fence, most)) > 0 {
			most = fence
		}
	}
	if fences[most]+silent >= i.Need && i.Holder.Writer == WriterRedlock && i.State != Unknown {
		i.Token = most
	}
}
