package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

const (
	// few is the number of callers up to which a connection of their own is
	// fastest. More callers are served faster by sharing the stream.
	few = 4
	// big is the size from which a value is sent outside the stream, where it
	// would delay the commands behind it.
	big = 16 << 10
	// wary is how many small values must be read in a row before values are
	// assumed to be small.
	wary = 64
	// lanes is how many callers may use a connection of their own at once while
	// values are not assumed to be small. It is small because a server that
	// accepts many connections at once takes so long that it appears to be
	// down.
	lanes = 16
)

// node is a node of the Cluster with the state that this Cache keeps for it.
type node struct {
	*nodeset.Node
	slack  time.Duration
	lanes  chan struct{}
	asking atomic.Int32 // callers that are asking, or wait to ask
	piece  atomic.Int32 // how many keys to read at once; 0: unknown
	small  atomic.Int32 // small values read in a row, up to wary
}

// limits returns which entries of the node may be served: those stored in this
// run of its server, with a later stamp than after. Entries from before a
// restart, or from before an outage of the node, may have been deleted since.
func (n *node) limits() (run string, after int64) {
	l := n.Incarnation()
	if run = l.RunID; run == "" {
		run = "-"
	} else {
		run = run[:min(len(run), 12)]
	}
	if !l.Back.IsZero() {
		after = l.Back.Add(l.Offset + n.slack).UnixMicro()
	}
	return run, after
}

// now returns the time by the node's clock, in µs.
func (n *node) now() int64 { return time.Now().Add(n.Incarnation().Offset).UnixMicro() }

// sight is the state by which a node's entries are judged: its limits and its
// clock when the answer arrived.
type sight struct {
	node       *node
	run        string
	after, now int64
}

func (n *node) sight() sight {
	run, after := n.limits()
	return sight{n, run, after, n.now()}
}

// get reads one entry.
func (n *node) get(ctx context.Context, name string) (text string, found bool, err error) {
	cmd := redis.NewCmd(ctx, "get", name)
	reply, err := n.fastest(ctx, n.small.Load() >= wary,
		func() (any, error) { err := n.Ask(ctx, cmd); return cmd.Val(), err },
		func(r nodeset.Receiver) { n.Command(cmd, r) })
	return n.text(reply, err)
}

// text parses a reply that is an entry or nil.
func (n *node) text(reply any, err error) (text string, found bool, _ error) {
	switch {
	case err == nil && reply == nil, errors.Is(err, redis.Nil):
		n.learn(0)
		return "", false, nil
	case err != nil:
		return "", false, err
	}
	if text, found = reply.(string); !found {
		return "", false, unexpected(reply)
	}
	n.learn(len(text))
	return text, true, nil
}

func (n *node) learn(size int) {
	if size >= big {
		n.small.Store(0)
	} else if seen := n.small.Load(); seen < wary {
		n.small.Store(seen + 1)
	}
}

// run runs a script and waits for the answer. size is the size of its
// arguments. A nil reply is no error.
func (n *node) run(ctx context.Context, s *nodeset.Script, keys []string, args []any, size int) (any, error) {
	reply, err := n.fastest(ctx, size < big && n.small.Load() >= wary,
		func() (any, error) { return n.AskScript(ctx, s, keys, args) },
		func(r nodeset.Receiver) { n.Run(s, keys, args, r) })
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return reply, err
}

// fastest asks on a separate connection if there are few callers or the answer
// may be large, and on the stream otherwise.
func (n *node) fastest(ctx context.Context, shared bool, alone func() (any, error), stream func(nodeset.Receiver)) (any, error) {
	defer n.asking.Add(-1)
	switch {
	case n.asking.Add(1) <= few:
		return alone()
	case !shared:
		select {
		case n.lanes <- struct{}{}:
		case <-ctx.Done():
			return nil, errs.Ended(ctx)
		}
		defer func() { <-n.lanes }()
		return alone()
	}
	a := answers.Get().(*answer)
	stream(a)
	select {
	case <-a.done:
		reply, err := a.reply, a.err
		a.reply, a.err = nil, nil
		answers.Put(a)
		return reply, err
	case <-ctx.Done():
		return nil, errs.Ended(ctx)
	}
}

// answer is a Receiver whose result a caller can wait for.
type answer struct {
	done  chan struct{}
	reply any
	err   error
}

var answers = sync.Pool{New: func() any { return &answer{done: make(chan struct{}, 1)} }}

func (a *answer) Receive(_ *nodeset.Node, reply any, err error) {
	a.reply, a.err = reply, err
	a.done <- struct{}{}
}

func unexpected(reply any) error { return fmt.Errorf("redlock: unexpected reply (%T)", reply) }

// getMany reads several entries.
func (n *node) getMany(ctx context.Context, names []string) (any, error) {
	words := make([]any, 1, 1+len(names))
	words[0] = "mget"
	for _, name := range names {
		words = append(words, name)
	}
	cmd := redis.NewCmd(ctx, words...)
	return n.fastest(ctx, n.small.Load() >= wary,
		func() (any, error) { err := n.Ask(ctx, cmd); return cmd.Val(), err },
		func(r nodeset.Receiver) { n.Command(cmd, r) })
}

// list parses a reply that is a list.
func (n *node) list(reply any, err error) ([]any, error) {
	list, ok := reply.([]any)
	if err == nil && !ok {
		err = unexpected(reply)
	}
	return list, err
}
