package quorumlock

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// Inspection is the state of a lock, as the nodes reported it. It may be stale.
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

	// Left is how long until another process could acquire the key, if its
	// holder neither renews nor releases it; negative: never. It is undefined
	// if State is Unknown.
	Left time.Duration

	Waiting int      // processes that queue for it
	Waiters []Waiter // the first of them

	// Readers share the key, if Holder.Writer is WriterShared: those that so many
	// nodes name that they may have a quorum, in the order in which they began. Left
	// is the longest that a node says. MoreReaders: there may be others, because a
	// node names 64 at most.
	Readers     []Reader
	MoreReaders bool

	// Retained: the holder has released the key, and this process keeps it for its next
	// caller. Nodes do not know that, so other processes do not either.
	Retained bool

	Views []View // what each node said

	Limit int    // how many can hold the key at once, by lock.Limit; 0: one
	Slots []Slot // of a key with a limit: those that are taken

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
	readers []Reader
	values  []string // of the readers, also of those that had expired
	value   string
	noFence string // what stands there instead of a fence counter
}

// namedWaiters is how many of the waiting processes an Inspection names.
const namedWaiters = 16

// Inspect asks all nodes for the state of the lock, and waits until each has
// answered or is down. If fewer nodes than a quorum answer, it returns what
// they reported and a *cluster.QuorumError; ctx.Err() is in the chain if ctx
// ended first.
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
func quorumOf(c *nodeset.Set, op, key string, views []View) error {
	var silent []nodeset.NodeError
	for _, v := range views {
		if v.Err != nil {
			silent = append(silent, nodeset.NodeError{Node: v.Node, Err: v.Err})
		}
	}
	if got := len(views) - len(silent); got < c.Quorum() {
		return &nodeset.QuorumError{Op: op, Key: key, Need: c.Quorum(), Got: got, Nodes: silent}
	}
	return nil
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
			companions := sharedNames(r.LockKey(key))
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
	return g.all, r.inspectSlots(ctx, g.all)
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

func (w viewer) Receive(n *nodeset.Node, reply any, err error) {
	v, err := readView(reply, err)
	v.Node, v.Err, v.Votes = n.Name(), err, err == nil && n.Votes()
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	w.g.all[w.i].Views[n.Index()] = v
	if w.g.open--; w.g.open == 0 {
		close(w.g.done)
	}
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
	i.judgeReaders(silent)
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
