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

// ErrNotHeld is returned by ForceRelease when nobody has the key, or another than was seen.
var ErrNotHeld = errors.New("redlock: the holder that was seen no longer holds the key")

// ErrMayBeAcquired is returned by ForceReleaseNow if so few nodes held the key
// that an attempt may be acquiring it on the others. The nodes that held it
// have released it. Inspect the key again.
var ErrMayBeAcquired = errors.New("redlock: released on the nodes that held it, but a pending attempt may still acquire it; inspect it again")

// ForceRelease takes a lock from the holder that was seen to have it, and from
// no other. Nobody can acquire the key until that holder's TTL is over, which
// takes at most freeIn, so it never has two holders. A holder that is alive
// notices at its next renewal, after a third of the TTL: its lease is lost,
// with a reason that says so and names by, a label like Config.Owner ("" means
// its default). Fence counters stay, and with them the order of tokens. An
// attempt that is still voting does not get the key from the other nodes: if
// fewer than a quorum of the nodes have the key, it is also blocked on the
// rest, even if it was only left over from a former holder.
//
// A key that readers share is taken from all of them, unless one has come that was
// not seen. Where 64 or more read it on a node, which names no more, that is not
// looked at.
//
// The error is ErrNotHeld, a *cluster.QuorumError if so few nodes took part that the holder may keep it (what they took
// stays taken), one that matches cluster.ErrConfig, or has ctx.Err() in its chain.
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
	seize := func(block time.Duration) func(*nodeset.Node, nodeset.Receiver) {
		return func(n *nodeset.Node, to nodeset.Receiver) {
			n.Run(seizeScript, keys, append([]any{seen.value, mark, millis(r.c.Config().MaxTTL), millis(block)}, seen.readersSeen()...), to)
		}
	}
	f, err := r.force(ctx, seen, seize(0))
	if err == nil && f.open(r.c) >= r.c.Quorum() {
		// A holder on so few nodes may be about to acquire the key on the
		// others, or to set it there again.
		f, err = r.force(ctx, seen, seize(max(f.left, time.Millisecond)))
	}
	return f.left, err
}

// ForceReleaseNow is ForceRelease without blocking the key: others can acquire
// it at once, although its holder may work for as long as its TTL, and learns
// of the release at its next renewal. It is for a holder that is known to be
// dead.
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
	f, err := r.force(ctx, seen, func(n *nodeset.Node, to nodeset.Receiver) {
		n.Run(script, keys, append([]any{seen.value, millis(r.cfg.HandOver), oneIf(n.Sharded())}, seen.readersSeen()...), to)
	})
	if err == nil && f.open(r.c) >= r.c.Quorum() {
		return errs.Errorf("redlock: force the release of %q: %w", seen.Key, ErrMayBeAcquired)
	}
	return err
}

func (r *Redlock) force(ctx context.Context, seen Inspection, send func(*nodeset.Node, nodeset.Receiver)) (*forcing, error) {
	f := &forcing{awaited: len(r.c.Nodes()), done: make(chan struct{})}
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
	case f.taken == 0 || f.others >= r.c.Quorum():
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
	mu      sync.Mutex
	awaited int // answers
	taken   int // nodes on which it was taken from the holder, or is kept from it
	others  int // nodes on which another has it
	left    time.Duration
	failed  []nodeset.NodeError
	done    chan struct{}
}

func (f *forcing) Receive(n *nodeset.Node, reply any, err error) {
	taken, left, err := readForce(reply, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.failed = append(f.failed, nodeset.NodeError{Node: n.Name(), Err: err})
	case taken:
		f.taken++
		f.left = max(f.left, left)
	case anothers(reply):
		f.others++
	}
	if f.awaited--; f.awaited == 0 {
		close(f.done)
	}
}

// readForce reads a reply of the seize or the release script.
func readForce(reply any, err error) (taken bool, left time.Duration, _ error) {
	words, ok := reply.([]any)
	if err != nil || !ok {
		taken, err = readRelease(reply, err)
		return taken, 0, err
	}
	switch {
	case len(words) == 2 && words[0] == any(int64(1)):
		if ms, ok := words[1].(int64); ok {
			return true, time.Duration(min(max(ms, 0), 1<<40)) * time.Millisecond, nil
		}
	case len(words) == 1 && (words[0] == any(int64(0)) || words[0] == any(int64(2))):
		return false, 0, nil
	}
	return false, 0, badReply("seize", reply)
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
