package register

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

//go:embed scripts/write.lua
var writeSource string

//go:embed scripts/read.lua
var readSource string

var (
	writeScript = cluster.NewScript("write record", writeSource)
	readScript  = cluster.NewScript("read record", readSource)
)

// ErrOvertaken is returned to a writer whose token is no longer the newest: so many nodes know of a newer one that it
// cannot reach a quorum.
var ErrOvertaken = errors.New("redlock: overtaken by a newer token")

// aside is the size of data from which a record does not go through the nodes' streams.
const aside = 16 << 10

// maxToken is above every fencing token: what is exact in Lua.
const maxToken = 1 << 53

// Key is where a record lives on the nodes, and the fence counter that guards it, in one hash slot.
type Key struct {
	Name   string // for people
	Record string
	Fence  string
}

// Record is what is kept.
type Record struct {
	Token   int64 // whose writing this version is
	Seq     int64 // which of theirs
	Origin  int64 // the token under which the data was written first
	Deleted bool
	Data    []byte
}

// newer reports whether r is a later version than other.
func (r *Record) newer(other *Record) bool {
	return r.Token > other.Token || r.Token == other.Token && r.Seq > other.Seq
}

// Write keeps r on a quorum for ttl. top is the largest fence that does not overtake the writer: the largest token of
// its acquisition. The error is ErrOvertaken, a *cluster.QuorumError (some nodes may have taken it: write it again, or
// something newer), or has ctx.Err() in its chain, which leaves the same open.
func Write(ctx context.Context, c *cluster.Cluster, key Key, r Record, top int64, ttl time.Duration) error {
	deleted := ""
	if r.Deleted {
		deleted = "1"
	}
	args := []any{r.Token, r.Seq, r.Origin, deleted, bytes.Clone(r.Data), max(ttl.Milliseconds(), 1), top}
	quorum := c.Quorum()
	p := newPoll(c)
	p.enough = func() bool { return p.yes >= quorum || p.no > len(c.Nodes())-quorum }
	p.take = func(_ *cluster.Node, reply any) (yes bool, err error) { return readWrite(reply, r.Token) }
	for _, n := range c.Nodes() {
		if len(r.Data) < aside {
			n.Run(writeScript, []string{key.Record, key.Fence}, args, p)
		} else {
			n.RunAside(writeScript, []string{key.Record, key.Fence}, args, p)
		}
	}
	if err := p.wait(ctx); err != nil {
		return fmt.Errorf("redlock: write the record of %q: %w", key.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.yes >= quorum:
		return nil
	case p.no > len(c.Nodes())-quorum:
		return fmt.Errorf("redlock: write the record of %q: %w", key.Name, ErrOvertaken)
	}
	return &cluster.QuorumError{Op: "write the record of", Key: key.Name, Need: quorum, Got: p.yes, Nodes: p.failed}
}

// Read returns the newest record that a quorum knows of; ok is false if there is none, or it was deleted. It writes
// nothing, so what it returns need not be what the next reader sees; Resume's is. ttl as in Write.
func Read(ctx context.Context, c *cluster.Cluster, key Key, ttl time.Duration) (r Record, ok bool, err error) {
	r, known, err := newest(ctx, c, key, ttl)
	return r, known && !r.Deleted, err
}

// Resume returns the newest record, after it has written it to a quorum again under token, sequence 0. Whoever wrote
// with an older token is overtaken by that. top and ttl as in Write.
func Resume(ctx context.Context, c *cluster.Cluster, key Key, token, top int64, ttl time.Duration) (r Record, ok bool, err error) {
	r, known, err := newest(ctx, c, key, ttl)
	if err != nil {
		return Record{}, false, err
	}
	if !known {
		r = Record{Deleted: true} // for as long as a write may live that a minority has taken: nobody must find that later
	}
	r.Token, r.Seq = token, 0
	if err := Write(ctx, c, key, r, top, ttl); err != nil {
		return Record{}, false, err
	}
	return r, !r.Deleted, nil
}

// newest asks the nodes for what they have. A quorum of nodes that have a say decides, and everybody's answers if there
// are not so many: then a quorum has forgotten, and what is left is the best there is.
func newest(ctx context.Context, c *cluster.Cluster, key Key, ttl time.Duration) (Record, bool, error) {
	var best Record // with known and votes guarded by the poll: answers may come after ctx has ended
	known, votes, quorum := false, 0, c.Quorum()
	p := newPoll(c)
	p.enough = func() bool { return votes >= quorum }
	p.take = func(n *cluster.Node, reply any) (bool, error) {
		r, found, err := parse(reply)
		if err != nil {
			return false, err
		}
		if found && (!known || r.newer(&best)) {
			best, known = r, true
		}
		if n.Remembers(ttl) {
			votes++
		}
		return true, nil
	}
	for _, n := range c.Nodes() {
		n.Run(readScript, []string{key.Record}, nil, p)
	}
	if err := p.wait(ctx); err != nil {
		return Record{}, false, fmt.Errorf("redlock: read the record of %q: %w", key.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if votes < quorum && p.yes < len(c.Nodes()) {
		return Record{}, false, &cluster.QuorumError{Op: "read the record of", Key: key.Name, Need: quorum, Got: votes, Nodes: p.failed}
	}
	return best, known, nil
}

// readWrite reads a reply of the write script to a writer with this token. Only an exact refusal speaks of a newer token. A
// node that refuses because it has a newer write of the same token counts as one that kept it: nobody will see less.
func readWrite(reply any, token int64) (kept bool, _ error) {
	words, _ := reply.([]any)
	switch {
	case len(words) == 1 && words[0] == any(int64(1)):
		return true, nil
	case len(words) == 2 && words[0] == any(int64(0)):
		if newest, ok := words[1].(int64); ok {
			return newest == token, nil
		}
	}
	return false, fmt.Errorf("unexpected reply to a write (%T)", reply)
}

// parse reads a reply of the read script. Whatever does not look exactly like a record that Write has written is none.
func parse(reply any) (r Record, found bool, _ error) {
	words, ok := reply.([]any)
	if !ok {
		return r, false, fmt.Errorf("unexpected reply to a read (%T)", reply)
	}
	if len(words) == 0 {
		return r, false, nil
	}
	text := make([]string, len(words))
	for i, w := range words {
		text[i], ok = w.(string)
		if !ok || len(words) != 5 {
			return r, false, errors.New("a record that is not one of ours")
		}
	}
	var errs [3]error
	r.Token, errs[0] = strconv.ParseInt(text[0], 10, 64)
	r.Seq, errs[1] = strconv.ParseInt(text[1], 10, 64)
	r.Origin, errs[2] = strconv.ParseInt(text[2], 10, 64)
	if errors.Join(errs[:]...) != nil || r.Token < 0 || r.Token >= maxToken || r.Seq < 0 || r.Origin < 0 || r.Origin > r.Token ||
		text[3] != "" && text[3] != "1" {
		return Record{}, false, errors.New("a record that is not one of ours")
	}
	r.Deleted, r.Data = text[3] == "1", []byte(text[4])
	return r, true, nil
}

// poll asks all nodes one question and waits until the answers suffice.
type poll struct {
	enough func() bool
	take   func(n *cluster.Node, reply any) (yes bool, err error)

	mu      sync.Mutex
	open    int
	yes, no int
	failed  []cluster.NodeError
	ended   bool
	done    chan struct{}
}

func newPoll(c *cluster.Cluster) *poll { return &poll{open: len(c.Nodes()), done: make(chan struct{})} }

// Receive implements cluster.Receiver. Answers that come after the poll has ended are dropped.
func (p *poll) Receive(n *cluster.Node, reply any, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.open--
	yes := false
	if err == nil {
		yes, err = p.take(n, reply)
	}
	switch {
	case err != nil:
		p.failed = append(p.failed, cluster.NodeError{Node: n.Name(), Err: err})
	case yes:
		p.yes++
	default:
		p.no++
	}
	if p.enough() || p.open == 0 {
		p.ended = true
		close(p.done)
	}
}

func (p *poll) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
