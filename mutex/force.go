package mutex

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// ErrNotHeld is returned by ForceRelease when nobody has the key, or another than was seen.
var ErrNotHeld = errors.New("redlock: not held any more by whom was seen to hold it")

// ForceRelease takes a lock away from the holder that was seen to have it, and from nobody else. The key is kept from
// everybody until that holder's TTL is over, which is in freeIn at most, so that at no time two can have it. A holder that
// lives finds out at its next renewal, a third of the TTL away: it is lost then, with a reason that says so and
// names by, a label as Config.Owner ("" means its default). Fence counters stay, and with them the order of tokens.
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
	mark := r.value(forced, by)
	return r.force(ctx, seen, func(n *cluster.Node, to cluster.Receiver) {
		n.Run(seizeScript, []string{r.LockKey(seen.Key)}, []any{seen.value, mark, millis(r.c.Config().MaxTTL)}, to)
	})
}

// ForceReleaseNow is ForceRelease without keeping the key: others can have it at once, although its holder may go on for
// as long as its TTL, and learns of it at its next renewal. It is for a holder that is known to be dead.
func (r *Redlock) ForceReleaseNow(ctx context.Context, seen Inspection) error {
	keys := namesOf(r.LockKey(seen.Key))
	_, err := r.force(ctx, seen, func(n *cluster.Node, to cluster.Receiver) {
		n.Run(releaseScript, keys[:], []any{seen.value, millis(r.cfg.HandOver), oneIf(n.Sharded())}, to)
	})
	return err
}

func (r *Redlock) force(ctx context.Context, seen Inspection, send func(*cluster.Node, cluster.Receiver)) (time.Duration, error) {
	switch {
	case seen.State == Free:
		return 0, errs.Errorf("redlock: force the release of %q: %w", seen.Key, ErrNotHeld)
	case seen.value == "":
		return 0, fieldError("key", "%q: what is there is no lock, and no library's; it has to be deleted by hand", seen.Key)
	}
	f := &forcing{open: len(r.c.Nodes()), done: make(chan struct{})}
	for _, n := range r.c.Nodes() {
		send(n, f)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return 0, errs.Errorf("redlock: force the release of %q: %w", seen.Key, errs.Ended(ctx))
	}
	got, need := len(r.c.Nodes())-len(f.failed), r.c.Quorum()
	switch {
	case got < need:
		return f.left, &cluster.QuorumError{Op: "force the release of", Key: seen.Key, Need: need, Got: got, Nodes: f.failed}
	case f.taken == 0:
		return 0, errs.Errorf("redlock: force the release of %q: %w", seen.Key, ErrNotHeld)
	}
	return f.left, nil
}

// forcing takes in the answers.
type forcing struct {
	mu     sync.Mutex
	open   int
	taken  int
	left   time.Duration
	failed []cluster.NodeError
	done   chan struct{}
}

func (f *forcing) Receive(n *cluster.Node, reply any, err error) {
	taken, left, err := readForce(reply, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.failed = append(f.failed, cluster.NodeError{Node: n.Name(), Err: err})
	case taken:
		f.taken++
		f.left = max(f.left, left)
	}
	if f.open--; f.open == 0 {
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

// GoneOrTaken is the reason of a loss that nobody forced.
const GoneOrTaken = "gone or taken on too many nodes"

// WhyOver is the reason to give for a hold that a round of extension found to be over.
func (h *Hold) WhyOver() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.members {
		if by := readValue(h.members[i].last().holder); by.Writer == WriterForced {
			return by.String()
		}
	}
	return GoneOrTaken
}
