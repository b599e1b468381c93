package quorumlock

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// OneNode takes the steps of the algorithm on one node, for a client that
// decides about quorums by itself, as redsync does. Acquisitions raise the fence
// counter, so that tokens of later holders are larger, and releases notify the
// waiters of this library. All methods may be called concurrently.
//
// No key stays on the node without the knowledge of its client. A client whose
// acquisition failed, or whose context has ended, calls Release once, possibly
// on the context that has ended and before the acquisition is answered. The
// OneNode does the rest: a grant that arrives after the release is released,
// and so is a key whose acquisition or release was sent but not answered, as
// soon as the node answers again. A release may therefore be sent again later,
// so attempts must not share a value.
type OneNode struct {
	set *nodeset.Set
	n   *nodeset.Node

	mu       sync.Mutex
	inFlight map[claim]*claiming // acquisitions that are not answered yet
}

// claim identifies an acquisition on one node.
type claim struct{ name, value string }

// NewOneNode makes the OneNode for n, a node of set.
func NewOneNode(set *nodeset.Set, n *nodeset.Node) *OneNode {
	return &OneNode{set: set, n: n, inFlight: map[claim]*claiming{}}
}

// CheckTTL reports why [OneNode.Acquire] cannot take ttl. field is the client's
// name for it. The error matches cluster.ErrConfig.
func (o *OneNode) CheckTTL(field string, ttl time.Duration) error {
	return checkTTL(field, ttl, o.set.Config().MaxTTL)
}

// Acquire sets the key called name to value for ttl, which CheckTTL accepts, if
// the key is free. A grant does not count, and is an error, if the node may have
// lost the locks that it granted before.
func (o *OneNode) Acquire(ctx context.Context, name, value string, ttl time.Duration) (granted bool, err error) {
	if ctx.Err() != nil {
		return false, errs.Ended(ctx)
	}
	keys, maxTTL := namesOf(name), o.set.Config().MaxTTL
	a := &claiming{oneAnswer: make(oneAnswer, 1), o: o, claim: claim{name, value}, ttl: ttl}
	a.begin()
	o.n.Run(acquireScript, keys[:], []any{value, millis(ttl), 1, time.Now().UnixMicro(), "",
		millis(max(defaultRetention, 2*maxTTL)), millis(maxTTL), o.n.FenceFloor(), ""}, a)
	reply, votes, err := a.await(ctx)
	granted, _, err = readGrant(reply, err, 1)
	switch {
	case granted && ctx.Err() != nil:
		return false, errs.Ended(ctx)
	case granted && !votes:
		return false, errQuarantine
	}
	return granted, err
}

// claiming is an acquisition in flight. It receives the answer.
type claiming struct {
	oneAnswer
	claim
	o        *OneNode
	ttl      time.Duration
	released bool // guarded by o.mu
}

func (a *claiming) begin() {
	a.o.mu.Lock()
	defer a.o.mu.Unlock()
	a.o.inFlight[a.claim] = a
}

// Receive releases grants that the client does not know: those after its
// release, and those that may have been made without an answer.
func (a *claiming) Receive(n *nodeset.Node, reply any, err error) {
	a.o.mu.Lock()
	released := a.released
	if a.o.inFlight[a.claim] == a {
		delete(a.o.inFlight, a.claim)
	}
	a.o.mu.Unlock()
	switch {
	case err != nil && !nodeset.Unsent(err):
		a.o.releaseLater(a.claim, time.Time{})
	case err == nil && released:
		a.o.releaseLater(a.claim, time.Now().Add(a.ttl))
	}
	a.oneAnswer.Receive(n, reply, err)
}

// Found is what a release found at the key.
type Found uint8

const (
	FoundOther   Found = iota // another's value, which stays
	FoundNothing              // no key
	FoundOurs                 // the given value, which is deleted
)

// Release deletes the key called name if it has value. It is sent even if ctx
// has ended; ctx bounds only the waiting for the answer.
func (o *OneNode) Release(ctx context.Context, name, value string) (Found, error) {
	id := claim{name, value}
	o.mu.Lock()
	if a := o.inFlight[id]; a != nil {
		a.released = true
	}
	o.mu.Unlock()
	a := make(oneAnswer, 1)
	o.n.Send(o.releaseCommand(id), unclaiming{a, id, o})
	reply, _, err := a.await(ctx)
	return readFound(reply, err)
}

// readFound reads a reply of the release script.
func readFound(reply any, err error) (Found, error) {
	ours, err := readRelease(reply, err)
	switch {
	case err != nil:
		return FoundOther, err
	case ours:
		return FoundOurs, nil
	case reply == any(int64(0)):
		return FoundNothing, nil
	}
	return FoundOther, nil
}

// unclaiming is a release in flight. It receives the answer, and sends the
// release again if there is none.
type unclaiming struct {
	oneAnswer
	claim
	o *OneNode
}

func (u unclaiming) Receive(n *nodeset.Node, reply any, err error) {
	if _, bad := readRelease(reply, err); bad != nil {
		u.o.releaseLater(u.claim, time.Now().Add(u.o.set.Config().MaxTTL))
	}
	u.oneAnswer.Receive(n, reply, err)
}

func (o *OneNode) releaseLater(id claim, until time.Time) {
	o.n.SendLater(o.releaseCommand(id), until)
}

func (o *OneNode) releaseCommand(id claim) nodeset.Command {
	keys := namesOf(id.name)
	return releaseOn(o.n, releaseScript.Command(keys[:], id.value, millis(defaultHandOver), ""))
}

// Touch runs a script of the client that extends a key. The script returns 1 if
// the key is the client's afterwards, also where it has set a key that was gone,
// and otherwise 0. A 1 does not count, and is an error, if the node may have lost
// the locks that it granted before.
func (o *OneNode) Touch(ctx context.Context, s *nodeset.Script, keys []string, args ...any) (ours bool, err error) {
	reply, votes, err := o.run(ctx, s, keys, args)
	ours, err = readTouch(reply, err)
	if ours && !votes {
		return false, errQuarantine
	}
	return ours, err
}

// readTouch reads a reply of the client's script. It accepts only 0 and 1,
// because redsync takes any reply but 0, even nil, for a success.
func readTouch(reply any, err error) (ours bool, _ error) {
	switch {
	case err != nil:
		return false, err
	case reply == any(int64(1)):
		return true, nil
	case reply == any(int64(0)):
		return false, nil
	}
	return false, badReply("extend", reply)
}

// Run runs a script of the client, and returns its reply.
func (o *OneNode) Run(ctx context.Context, s *nodeset.Script, keys []string, args ...any) (reply any, err error) {
	reply, _, err = o.run(ctx, s, keys, args)
	return reply, err
}

func (o *OneNode) run(ctx context.Context, s *nodeset.Script, keys []string, args []any) (reply any, votes bool, err error) {
	if ctx.Err() != nil {
		return nil, false, errs.Ended(ctx)
	}
	a := make(oneAnswer, 1)
	o.n.Run(s, keys, args, a)
	return a.await(ctx)
}

// oneAnswer receives one answer.
type oneAnswer chan struct {
	reply any
	err   error
	votes bool // the node voted when it answered
}

func (a oneAnswer) Receive(n *nodeset.Node, reply any, err error) {
	a <- struct {
		reply any
		err   error
		votes bool
	}{reply, err, n.Counts()}
}

// await waits for the answer until ctx ends.
func (a oneAnswer) await(ctx context.Context) (reply any, votes bool, err error) {
	select {
	case got := <-a:
		if errors.Is(got.err, redis.Nil) {
			return nil, got.votes, nil
		}
		return got.reply, got.votes, got.err
	case <-ctx.Done():
		return nil, false, errs.Ended(ctx)
	}
}
