package record

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// outOfBandSize is the size of data from which a record does not go through the
// nodes' streams.
const outOfBandSize = 16 << 10

// promiseSlack is how much longer than a record the promise before it is kept:
// the record is written after it.
const promiseSlack = time.Minute

// Write stores r on a quorum for ttl. The error is ErrOvertaken, or a
// *nodeset.QuorumError: some nodes may have stored it, so write it again, or
// something newer. If ctx ended, the error has ctx.Err() in its chain. r.Data
// must not be modified afterwards: it may still be in flight to slower nodes.
func Write(ctx context.Context, c *nodeset.Set, key Key, r Record, ttl time.Duration) error {
	p := newQuorumCall(c, "write the record of", key)
	p.enough = func() bool { return p.accepted >= p.quorum || p.overtaken() }
	p.take = func(_ *nodeset.Node, reply any) (accepted bool, err error) { return parseWrite(reply, r.Token) }
	send(c.Nodes(), key, r, ttl, p)
	if err := p.wait(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted < p.quorum {
		return p.failure(p.accepted)
	}
	return nil
}

// Tell sends r to some nodes and does not wait: to those that may have lost
// what a Write kept on a quorum, or to all of them before it expires. They keep
// it for ttl from now on. receiver, which may be nil, gets their answers; a
// reply that is none of the script's is an error.
func Tell(nodes []*nodeset.Node, key Key, r Record, ttl time.Duration, receiver nodeset.Receiver) {
	if receiver != nil {
		receiver = writeChecker{receiver, r.Token}
	}
	send(nodes, key, r, ttl, receiver)
}

// send is Tell with the replies as they come.
func send(nodes []*nodeset.Node, key Key, r Record, ttl time.Duration, receiver nodeset.Receiver) {
	deleted := ""
	if r.Deleted {
		deleted = "1"
	}
	args := []any{r.Token, r.Seq, r.Origin, deleted, r.Data, max(ttl.Milliseconds(), 1)}
	for _, n := range nodes {
		if len(r.Data) < outOfBandSize {
			n.Run(writeScript, key.onNode(), args, receiver)
		} else {
			n.RunOutOfBand(writeScript, key.onNode(), args, receiver)
		}
	}
}

// writeChecker passes answers to Tell on to a receiver, those that are none of
// the script's as errors.
type writeChecker struct {
	to    nodeset.Receiver
	token int64
}

func (w writeChecker) Receive(n *nodeset.Node, reply any, err error) {
	if err == nil {
		_, err = parseWrite(reply, w.token)
	}
	w.to.Receive(n, reply, err)
}

// Read returns the newest record that a quorum knows of; ok is false if there
// is none, or it was deleted. It writes nothing, so what it returns need not be
// what the next reader sees; Resume's is. ttl as in Write.
func Read(ctx context.Context, c *nodeset.Set, key Key, ttl time.Duration) (r Record, ok bool, err error) {
	r, found, err := findNewest(ctx, c, key, readScript, 0, ttl)
	return r, found && !r.Deleted, err
}

// Size is Read without the data: it returns their size, in bytes.
func Size(ctx context.Context, c *nodeset.Set, key Key, ttl time.Duration) (r Record, size int, ok bool, err error) {
	r, found, err := findNewest(ctx, c, key, sizeScript, 0, ttl)
	if err != nil || !found || r.Deleted {
		return Record{}, 0, false, err
	}
	if size, err = strconv.Atoi(string(r.Data)); err != nil || size < 0 {
		return Record{}, 0, false, fmt.Errorf("the size of the record of %q: unexpected reply", key.Name)
	}
	r.Data = nil
	return r, size, true, nil
}

// Resume makes token the writer's and returns the newest record. A quorum
// promises first to accept nothing from an older writer; then the newest record
// that those nodes had is written to a quorum again under token, sequence 0, to
// be kept for ttl. The errors are those of Write.
func Resume(ctx context.Context, c *nodeset.Set, key Key, token int64, ttl time.Duration) (r Record, ok bool, err error) {
	return ResumeAgain(ctx, c, key, token, 0, ttl)
}

// ResumeAgain is Resume by a writer whose earlier ones failed. seq is larger than
// theirs: a minority may have taken what they wrote, and this one may have found
// something else.
func ResumeAgain(ctx context.Context, c *nodeset.Set, key Key, token, seq int64, ttl time.Duration) (r Record, ok bool, err error) {
	r, found, err := findNewest(ctx, c, key, promiseScript, token, ttl)
	if err != nil {
		return Record{}, false, err
	}
	if !found {
		r = Record{Deleted: true} // for as long as a write may live that a minority has taken: nobody must find that later
	}
	r.Token, r.Seq = token, seq
	if err := Write(ctx, c, key, r, ttl); err != nil {
		return Record{}, false, err
	}
	return r, !r.Deleted, nil
}

// findNewest asks the nodes by script for their records and, if token is not 0, for their
// promise to it. A quorum of nodes that still have their data decides. If there
// is none, all answers together do: a quorum lost its data, and what is left is
// the best there is.
func findNewest(ctx context.Context, c *nodeset.Set, key Key, script *nodeset.Script, token int64, ttl time.Duration) (Record, bool, error) {
	s := &search{quorumCall: newQuorumCall(c, "read the record of", key), script: script, token: token, ttl: ttl}
	s.enough = func() bool { return s.votes >= s.quorum || s.overtaken() }
	s.take = s.add
	s.ask()
	if err := s.wait(ctx); err != nil {
		return Record{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.votes < s.quorum && s.accepted < len(c.Nodes()) {
		return Record{}, false, s.failure(s.votes)
	}
	return s.newest, s.found, nil
}

// search is a quorumCall for the newest record.
type search struct {
	*quorumCall
	script *nodeset.Script
	token  int64 // to which a promise is asked for; 0: none is
	ttl    time.Duration

	newest Record // guarded by mu, as are these: answers may come after the call has ended
	found  bool
	votes  int
}

func (s *search) ask() {
	for _, n := range s.c.Nodes() {
		if s.token == 0 {
			n.Run(s.script, s.key.onNode()[:1], nil, s)
		} else {
			n.Run(s.script, s.key.onNode(), []any{s.token, (s.ttl + promiseSlack).Milliseconds()}, s)
		}
	}
}

// add takes in the answer of one node, which votes if it still has its data.
func (s *search) add(n *nodeset.Node, reply any) (accepted bool, _ error) {
	if s.token != 0 && promiseRefused(reply) {
		return false, nil
	}
	r, found, err := parseRecord(reply, latestToken(time.Now(), s.c.Config().MaxTTL))
	if err != nil {
		return false, err
	}
	if found && (!s.found || r.newer(&s.newest)) {
		s.newest, s.found = r, true
	}
	if n.Remembers(s.ttl) {
		s.votes++
	}
	return true, nil
}
