package quorumlock

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// releaseTally counts the answers to a release. Guarded by the hold's mu.
type releaseTally struct {
	done  chan struct{}
	open  int16 // nodes that have not answered
	free  int16 // nodes on which the key is certainly not ours any more
	ours  int16 // of those, how many had it until now
	late  bool  // the deadline had passed, or a round had found it over, when it began
	ended bool
}

// Release gives the key back on every node where it is or may be ours, behind whatever is still in flight there, and
// waits until so many nodes have it no more that others can acquire it, or ctx ends. It returns
//
//	nil                    it was ours and is released
//	*LostError             it was not ours any more: the deadline had passed, or it is gone or another's on too many nodes
//	*cluster.QuorumError   too few nodes answered; they are sent the release when they are back, and the key expires
//	ErrReleased            it was released before
//	ctx.Err()              in the chain; the release goes on
func (h *Hold) Release(ctx context.Context) error {
	if err := h.StartRelease(); err != nil {
		return err
	}
	return h.AwaitRelease(ctx)
}

// StartRelease is the first half of Release: it sends what is to be sent and does not wait. An acquisition that this
// process begins afterwards comes behind it on every node that knows the script and has answered all it was asked for this
// hold.
func (h *Hold) StartRelease() error {
	h.mu.Lock()
	if h.phase != phaseHeld {
		h.mu.Unlock()
		return errs.Errorf("redlock: release %q: %w", h.key, ErrReleased)
	}
	h.phase = phaseReleased
	h.endRoundLocked()
	t := &h.release
	t.late = h.lost || nodeset.Passed(h.deadline, time.Now())
	t.done = make(chan struct{})
	for i := range h.members {
		m := &h.members[i]
		if m.pendingRelease = m.mayHold(); m.pendingRelease {
			t.open++
		} else {
			t.free++
		}
	}
	h.mu.Unlock()
	h.flush()
	return nil
}

// AwaitRelease is the second half of Release.
func (h *Hold) AwaitRelease(ctx context.Context) error {
	h.mu.Lock()
	done := h.release.done
	h.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return errs.Errorf("redlock: release %q: %w", h.key, errs.Ended(ctx))
	}
	h.mu.Lock()
	t := h.release
	h.mu.Unlock()
	switch free, against, quorum := int(t.free), int(t.free-t.ours), h.r.c.Quorum(); {
	case t.late:
		return h.Lost(Reason{ClassAtRelease, "lost before it was released"})
	case free < quorum:
		return h.silent("release", func(m *nodeState) bool { return m.last().err == nil })
	case len(h.members)-against < quorum:
		return h.Lost(Reason{ClassAtRelease, "gone or taken before it was released"})
	}
	return nil
}

// endReleaseLocked wakes Release when the answers suffice.
func (h *Hold) endReleaseLocked() {
	t := &h.release
	if t.done == nil || t.ended || (int(t.free) < h.r.c.Quorum() && t.open > 0) {
		return
	}
	t.ended = true
	close(t.done)
}

// readRelease reads a reply of the release script: whether the key was ours. Without an error it is ours no more.
func readRelease(reply any, err error) (ours bool, _ error) {
	switch {
	case err != nil:
		return false, err
	case reply == any(int64(1)):
		return true, nil
	case reply == any(int64(0)) || reply == any(int64(2)):
		return false, nil
	}
	return false, badReply("release", reply)
}

// releaser takes in the answers to a release, that of a hold or of an attempt that failed.
type releaser Hold

func (a *releaser) Receive(n *nodeset.Node, reply any, err error) {
	h := (*Hold)(a)
	ours, err := readRelease(reply, err)
	h.mu.Lock()
	m := &h.members[n.Index()]
	t := &h.release
	t.open--
	if err == nil {
		t.free++
		if ours {
			t.ours++
		}
	}
	m.say(lastReply{err: err})
	until := h.expiry
	if m.result == Failed {
		until = time.Time{} // a request that was given up on may still be executed, at any time
	}
	h.endReleaseLocked()
	after := h.after
	h.mu.Unlock()
	switch {
	case err != nil:
		value := h.value
		n.SendLater(h.releaseOn(n, h.releaseCommand(&value)), until)
	case after != nil:
		n.Send(*after, nil)
	}
}
