package register

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

//go:embed scripts/write.lua
var writeSource string

//go:embed scripts/read.lua
var readSource string

//go:embed scripts/promise.lua
var promiseSource string

var (
	writeScript   = cluster.NewScript("write record", writeSource)
	readScript    = cluster.NewScript("read record", readSource)
	promiseScript = cluster.NewScript("promise and read record", promiseSource)
)

// ErrOvertaken is returned to a writer whose token is no longer the newest: so many nodes know of a newer one that it
// cannot reach a quorum.
var ErrOvertaken = errors.New("redlock: overtaken by a newer token")

// outOfBandSize is the size of data from which a record does not go through the nodes' streams.
const outOfBandSize = 16 << 10

// maxToken is above every fencing token: what is exact in Lua.
const maxToken = 1 << 53

// latestToken is the largest token that counts at now, as of a grant: one node
// whose record has a larger one must not overrule the others.
func latestToken(now time.Time, maxTTL time.Duration) int64 {
	return min(now.Add(cluster.MaxFenceLead+maxTTL).UnixMicro(), maxToken-1)
}

// promiseSlack is how much longer than a record the promise before it is kept: the record is written after it.
const promiseSlack = time.Minute

// Key is where a record lives on the nodes.
type Key struct {
	Name   string // for people
	Record string // with a hash tag, because the promise made to the newest writer stands beside it
}

func (k Key) onNode() []string { return []string{k.Record, k.Record + ":promise"} }

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

// Write keeps r on a quorum for ttl. The error is ErrOvertaken, a *cluster.QuorumError (some nodes may have taken it: write
// it again, or something newer), or has ctx.Err() in its chain, which leaves the same open. r.Data must not be changed
// any more: it may be on its way to the slower nodes for a while.
func Write(ctx context.Context, c *cluster.Cluster, key Key, r Record, ttl time.Duration) error {
	quorum := c.Quorum()
	p := newQuorumCall(c)
	p.enough = func() bool { return p.yes >= quorum || p.no > len(c.Nodes())-quorum }
	p.take = func(_ *cluster.Node, reply any) (yes bool, err error) { return readWrite(reply, r.Token) }
	Tell(c.Nodes(), key, r, ttl, p)
	if err := p.wait(ctx); err != nil {
		return errs.Errorf("redlock: write the record of %q: %w", key.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.yes >= quorum:
		return nil
	case p.no > len(c.Nodes())-quorum:
		return errs.Errorf("redlock: write the record of %q: %w", key.Name, ErrOvertaken)
	}
	if err := p.unusable(c, key); err != nil {
		return err
	}
	return &cluster.QuorumError{Op: "write the record of", Key: key.Name, Need: quorum, Got: p.yes, Nodes: p.failed}
}

// Tell sends r to some nodes and does not wait: to those that may have forgotten what a Write has kept on a quorum, or to
// all of them before it expires. They keep it for ttl from now on. receiver, which may be nil, is given their answers; a
// reply that is none of the script's is an error.
func Tell(nodes []*cluster.Node, key Key, r Record, ttl time.Duration, receiver cluster.Receiver) {
	deleted := ""
	if r.Deleted {
		deleted = "1"
	}
	args := []any{r.Token, r.Seq, r.Origin, deleted, r.Data, max(ttl.Milliseconds(), 1)}
	if receiver != nil {
		receiver = told{receiver, r.Token}
	}
	for _, n := range nodes {
		if len(r.Data) < outOfBandSize {
			n.Run(writeScript, key.onNode(), args, receiver)
		} else {
			n.RunOutOfBand(writeScript, key.onNode(), args, receiver)
		}
	}
}

// told checks the answers to Tell for a receiver.
type told struct {
	to    cluster.Receiver
	token int64
}

func (t told) Receive(n *cluster.Node, reply any, err error) {
	if err == nil {
		_, err = readWrite(reply, t.token)
	}
	t.to.Receive(n, reply, err)
}

// Read returns the newest record that a quorum knows of; ok is false if there is none, or it was deleted. It writes
// nothing, so what it returns need not be what the next reader sees; Resume's is. ttl as in Write.
func Read(ctx context.Context, c *cluster.Cluster, key Key, ttl time.Duration) (r Record, ok bool, err error) {
	r, known, err := newest(ctx, c, key, 0, ttl)
	return r, known && !r.Deleted, err
}

// Resume makes token the writer's and returns the newest record. A quorum promises first to listen to no older writer any
// more; then what the newest of them had is written to a quorum again under token, sequence 0, to be kept for ttl. The
// errors are those of Write.
func Resume(ctx context.Context, c *cluster.Cluster, key Key, token int64, ttl time.Duration) (r Record, ok bool, err error) {
	r, known, err := newest(ctx, c, key, token, ttl)
	if err != nil {
		return Record{}, false, err
	}
	if !known {
		r = Record{Deleted: true} // for as long as a write may live that a minority has taken: nobody must find that later
	}
	r.Token, r.Seq = token, 0
	if err := Write(ctx, c, key, r, ttl); err != nil {
		return Record{}, false, err
	}
	return r, !r.Deleted, nil
}

// newest asks the nodes for what they have, and, if token is not 0, for their promise to it. A quorum of nodes that have a say
// decides, and everybody's answers if there are not so many: then a quorum has forgotten, and what is left is the best there is.
func newest(ctx context.Context, c *cluster.Cluster, key Key, token int64, ttl time.Duration) (Record, bool, error) {
	var best Record // with known and votes guarded by the quorumCall: answers may come after ctx has ended
	known, votes, quorum := false, 0, c.Quorum()
	p := newQuorumCall(c)
	p.enough = func() bool { return votes >= quorum || p.no > len(c.Nodes())-quorum }
	p.take = func(n *cluster.Node, reply any) (bool, error) {
		if token != 0 && refused(reply) {
			return false, nil
		}
		r, found, err := parse(reply, latestToken(time.Now(), c.Config().MaxTTL))
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
		if token == 0 {
			n.Run(readScript, key.onNode()[:1], nil, p)
		} else {
			n.Run(promiseScript, key.onNode(), []any{token, (ttl + promiseSlack).Milliseconds()}, p)
		}
	}
	if err := p.wait(ctx); err != nil {
		return Record{}, false, errs.Errorf("redlock: read the record of %q: %w", key.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case votes >= quorum || p.yes == len(c.Nodes()):
		return best, known, nil
	case p.no > len(c.Nodes())-quorum:
		return Record{}, false, errs.Errorf("redlock: read the record of %q: %w", key.Name, ErrOvertaken)
	}
	if err := p.unusable(c, key); err != nil {
		return Record{}, false, err
	}
	return Record{}, false, &cluster.QuorumError{Op: "read the record of", Key: key.Name, Need: quorum, Got: votes, Nodes: p.failed}
}

// errForeign is the answer of a node that holds something else in the place of the record.
var errForeign = errors.New("a record that is not one of ours")

// unusable is the error where so many nodes hold something else in the place of the record, or deny it to this user, that no
// quorum is left: waiting does not change that. It matches cluster.ErrConfig.
func (p *quorumCall) unusable(c *cluster.Cluster, key Key) error {
	foreign, denied := 0, 0
	var why error
	for _, f := range p.failed {
		switch {
		case cluster.Unsent(f.Err):
			continue
		case errors.Is(f.Err, errForeign), strings.Contains(f.Err.Error(), "WRONGTYPE"):
			foreign++
		case strings.Contains(f.Err.Error(), "NOPERM"):
			denied++
		default:
			continue
		}
		why = cmp.Or(why, f.Err)
	}
	if len(c.Nodes())-foreign-denied >= c.Quorum() {
		return nil
	}
	return fmt.Errorf("%w: the record of %q: %d nodes hold something else under %s, which must be deleted there, and %d deny it to this user: %w",
		cluster.ErrConfig, key.Name, foreign, key.onNode()[0], denied, why)
}

// refused reports whether reply is exactly the refusal of a promise.
func refused(reply any) bool {
	words, _ := reply.([]any)
	if len(words) != 1 {
		return false
	}
	_, ok := words[0].(int64)
	return ok
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

// parse reads a reply of the read script. Whatever does not look exactly like a record that Write has written under a token up
// to latest is none.
func parse(reply any, latest int64) (r Record, found bool, _ error) {
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
			return r, false, errForeign
		}
	}
	var errs [3]error
	r.Token, errs[0] = strconv.ParseInt(text[0], 10, 64)
	r.Seq, errs[1] = strconv.ParseInt(text[1], 10, 64)
	r.Origin, errs[2] = strconv.ParseInt(text[2], 10, 64)
	if errs[0] == nil && r.Token > latest {
		return Record{}, false, errors.New("a record whose token is beyond this machine's clock")
	}
	if errors.Join(errs[:]...) != nil || r.Token < 0 || r.Seq < 0 || r.Origin < 0 || r.Origin > r.Token ||
		text[3] != "" && text[3] != "1" {
		return Record{}, false, errForeign
	}
	r.Deleted, r.Data = text[3] == "1", []byte(text[4])
	return r, true, nil
}

// quorumCall asks all nodes one question and waits until the answers suffice.
type quorumCall struct {
	enough func() bool
	take   func(n *cluster.Node, reply any) (yes bool, err error)

	mu      sync.Mutex
	open    int
	yes, no int
	failed  []cluster.NodeError
	ended   bool
	done    chan struct{}
}

func newQuorumCall(c *cluster.Cluster) *quorumCall {
	return &quorumCall{open: len(c.Nodes()), done: make(chan struct{})}
}

// Receive implements cluster.Receiver. Answers that come after the quorumCall has ended are dropped.
func (p *quorumCall) Receive(n *cluster.Node, reply any, err error) {
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

func (p *quorumCall) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return errs.Ended(ctx)
	}
}
