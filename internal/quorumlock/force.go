package quorumlock

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// How a key is taken away by force.
//
// On each node a mark takes the place of the holder's value, for as long as the
// value would have been there. Nodes are reached one by one, and beside the
// holder: a mark may expire before the holder's deadline, which other nodes may
// have moved, and the holder's next renewal sets its value there again. A request
// of an acquisition may be on its way to a node that has been asked already. So
// the nodes are asked in passes, until
//
//   - n − q + 1 nodes, one of every quorum, have the mark and had it when they
//     answered the pass before, so that at one moment they all had it, and
//   - each of them keeps it for at least as long as any node had it, or the
//     value, in an earlier pass, up to MaxTTL.
//
// At that moment no quorum has the value. Every deadline that the holder can have
// comes from a vote of one of these nodes before its mark, and their marks
// outlast it. search_force_test.go finds a holder that keeps the key if any of
// this is left out.

// maxForcePasses bounds the passes. Two are enough unless the holder's requests
// come between them.
const maxForcePasses = 8

// ErrNotHeld is returned by ForceRelease when nobody has the key, or another than was seen.
var ErrNotHeld = errors.New("redlock: the holder that was seen no longer holds the key")

// ErrMayBeAcquired is returned by ForceRelease and ForceReleaseNow if so few nodes
// held the key that an attempt may be acquiring it on the others. The nodes that
// held it have released it. Inspect the key again.
var ErrMayBeAcquired = errors.New("redlock: released on the nodes that held it, but a pending attempt may still acquire it; inspect it again")

// ForceRelease takes a lock from the holder that was seen to have it, and from
// no other. Nobody can acquire the key until that holder's TTL is over, which
// takes at most freeIn, so it never has two holders. A holder that is alive
// notices at its next renewal, after a third of the TTL: its lease is lost,
// with a reason that says so and names by, a label like Config.Owner ("" means
// its default). Fence counters stay, and with them the order of tokens. An
// attempt that is still voting does not get the key: it is also blocked on the
// nodes that it had not reached.
//
// A key that readers share is taken from all of them, unless one has come that was
// not seen. Where 64 or more read it on a node, which names no more, that is not
// looked at. Of a key with a limit, each slot is taken from its holder.
//
// The error is ErrNotHeld, ErrMayBeAcquired, a *cluster.QuorumError if so few nodes took part that the holder may keep it
// (what they took stays taken), one that matches cluster.ErrConfig, or has ctx.Err() in its chain.
func (r *Redlock) ForceRelease(ctx context.Context, seen Inspection, by string) (freeIn time.Duration, err error) {
	if by == "" {
		by = r.cfg.Owner
	}
	if err := checkOwner("by", by); err != nil {
		return 0, err
	}
	mark, names := r.value(forced, by), sharedNames(r.LockKey(seen.Key))
	if seen.Limit > 0 {
		return r.forceSlots(ctx, seen, func(s Slot) (time.Duration, error) { return r.seizeSlot(ctx, seen, s, mark) })
	}
	keys := names[:1]
	if seen.value == sharedMark {
		keys = append(keys, names[4])
	}
	return r.seize(ctx, seen, func(block time.Duration) func(*nodeset.Node, nodeset.Receiver) {
		return func(n *nodeset.Node, to nodeset.Receiver) {
			n.Run(seizeScript, keys, append([]any{seen.value, mark, millis(r.c.Config().MaxTTL), millis(block)}, seen.readersSeen()...), to)
		}
	})
}

// seize asks the nodes in passes until no quorum can have the value any more. send
// makes a pass that keeps the marks for so long at least.
func (r *Redlock) seize(ctx context.Context, seen Inspection, send func(block time.Duration) func(*nodeset.Node, nodeset.Receiver)) (freeIn time.Duration, err error) {
	enough := len(r.c.Nodes()) - r.c.Quorum() + 1
	began := time.Now()
	f, err := r.force(ctx, seen, nil, send(0))
	for passes := 1; err == nil && f.confirmed < enough; passes++ {
		if passes > 1 && f.taken < enough || passes == maxForcePasses {
			return f.left, errs.Errorf("redlock: force the release of %q: %w", seen.Key, ErrMayBeAcquired)
		}
		// The marks have to be there still when the next pass looks for them. No
		// deadline is further away than MaxTTL, whatever a node says.
		now := time.Now()
		block := min(max(f.until.Sub(now), 2*now.Sub(began), time.Millisecond), r.c.Config().MaxTTL)
		began = now
		f, err = r.force(ctx, seen, f, send(block))
	}
	return f.left, err
}

// ForceReleaseNow is ForceRelease without blocking the key: others can acquire
// it at once, although its holder may work for as long as its TTL, and learns
// of the release only at a renewal that finds the key gone or taken on so many
// nodes that no quorum is left. Renewals set the key again, one node at a time if
// answers are slow, and may keep it. It is for a holder that is known to be dead.
func (r *Redlock) ForceReleaseNow(ctx context.Context, seen Inspection) error {
	if seen.Limit > 0 {
		_, err := r.forceSlots(ctx, seen, func(s Slot) (time.Duration, error) { return 0, r.releaseSlot(ctx, seen, s) })
		return err
	}
	names, script := sharedNames(r.LockKey(seen.Key)), releaseScript
	keys := names[:4]
	if seen.value == sharedMark {
		script, keys = shareReleaseScript, names[:]
	}
	f, err := r.force(ctx, seen, nil, func(n *nodeset.Node, to nodeset.Receiver) {
		n.Run(script, keys, append([]any{seen.value, millis(r.cfg.HandOver), oneIf(n.Sharded())}, seen.readersSeen()...), to)
	})
	if err == nil && f.open(r.c) >= r.c.Quorum() {
		return errs.Errorf("redlock: force the release of %q: %w", seen.Key, ErrMayBeAcquired)
	}
	return err
}

// force is one pass over the nodes; before is the one before it, nil if there is
// none.
func (r *Redlock) force(ctx context.Context, seen Inspection, before *forcing, send func(*nodeset.Node, nodeset.Receiver)) (*forcing, error) {
	f := &forcing{awaited: len(r.c.Nodes()), had: make([]bool, len(r.c.Nodes())), done: make(chan struct{})}
	if before != nil {
		f.before, f.until = before.had, before.until
	}
	switch {
	case seen.State == Free:
		return f, errs.Errorf("redlock: force the release of %q: %w", seen.Key, ErrNotHeld)
	case seen.value == "":
		return f, configerr.Field("key", "%q: the key holds something other than a lock; delete it by hand", seen.Key)
	}
	for _, n := range r.c.Nodes() {
		send(n, f)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return &forcing{}, errs.Errorf("redlock: force the release of %q: %w", seen.Key, errs.Ended(ctx))
	}
	switch {
	case len(r.c.Nodes())-len(f.failed) < r.c.Quorum():
		return f, f.tooFew(r.c, seen.Key)
	case f.taken == 0 && before == nil, seen.value == sharedMark && f.others >= r.c.Quorum(): // readers that were not seen read
		return f, errs.Errorf("redlock: force the release of %q: %w", seen.Key, ErrNotHeld)
	}
	return f, nil
}

// open is on how many nodes the key may still become the holder's: those that did not have it, and those that did not answer.
func (f *forcing) open(c *nodeset.Set) int { return len(c.Nodes()) - f.taken - f.others }

func (f *forcing) tooFew(c *nodeset.Set, key string) error {
	got := len(c.Nodes()) - len(f.failed)
	return &nodeset.QuorumError{Op: "force the release of", Key: key, Need: c.Quorum(), Got: got, Nodes: f.failed}
}

// forcing takes in the answers.
type forcing struct {
	before []bool // had of the pass before; nil in the first

	mu        sync.Mutex
	awaited   int    // answers
	had       []bool // the nodes that had the mark when they answered, by index
	taken     int    // nodes on which it was taken from the holder, or is kept from it
	confirmed int    // nodes of those that had the mark at the end of the pass before
	others    int    // nodes on which another has it
	left      time.Duration
	until     time.Time // when the key is free on every node that named a time, in this pass or before
	failed    []nodeset.NodeError
	done      chan struct{}
}

func (f *forcing) Receive(n *nodeset.Node, reply any, err error) {
	now := time.Now()
	taken, marked, left, err := readForce(reply, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.failed = append(f.failed, nodeset.NodeError{Node: n.Name(), Err: err})
	case taken:
		f.taken++
		f.left = max(f.left, left)
		if until := now.Add(left); until.After(f.until) {
			f.until = until
		}
		if marked && f.before != nil && f.before[n.Index()] {
			f.confirmed++
		}
	case anothers(reply):
		f.others++
	}
	f.had[n.Index()] = err == nil && taken
	if f.awaited--; f.awaited == 0 {
		close(f.done)
	}
}

// readForce reads a reply of the seize or the release script. taken: it was taken
// from the holder, or is kept from it; marked: the mark was there before.
func readForce(reply any, err error) (taken, marked bool, left time.Duration, _ error) {
	words, ok := reply.([]any)
	if err != nil || !ok {
		taken, err = readRelease(reply, err)
		return taken, false, 0, err
	}
	switch {
	case len(words) == 2 && (words[0] == any(int64(1)) || words[0] == any(int64(3))):
		if ms, ok := words[1].(int64); ok {
			return true, words[0] == any(int64(3)), time.Duration(min(max(ms, 0), 1<<40)) * time.Millisecond, nil
		}
	case len(words) == 1 && (words[0] == any(int64(0)) || words[0] == any(int64(2))):
		return false, false, 0, nil
	}
	return false, false, 0, badReply("seize", reply)
}

// anothers reports whether a reply of the seize or the release script says that
// another holder has the key.
func anothers(reply any) bool {
	if words, ok := reply.([]any); ok && len(words) == 1 {
		reply = words[0]
	}
	return reply == any(int64(2))
}

// WhyOver is the reason to give for a hold that a round of extension found to be over.
func (h *Hold) WhyOver() Reason {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.members {
		if by := readValue(h.members[i].last().holder); by.Writer == WriterForced {
			return Reason{ClassForced, by.String()}
		}
	}
	return GoneOrTaken
}
