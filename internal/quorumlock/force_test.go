package quorumlock

import (
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// voting has two of five nodes hold the key for an attempt whose requests to the
// others are on their way.
func voting(t *testing.T, r *rig, red *Redlock) (*Hold, Inspection) {
	t.Helper()
	h, err := red.newHold("k", Request{})
	must(t, err)
	for i := range 2 {
		r.Put(i, "lock:k", h.Value(), 30*time.Second)
	}
	seen := inspect(t, red, "k")
	if seen.State != Partial {
		t.Fatalf("%+v", seen)
	}
	return h, seen
}

func TestForceRelease_KeepsTheKeyFromAnAttemptThatIsStillVoting(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		red := r.redlock(r.open(), Config{})
		warm(t, red)
		h, seen := voting(t, r, red)
		freeIn, err := red.ForceRelease(t.Context(), seen, "ann")
		if must(t, err); freeIn <= 0 || freeIn > 30*time.Second {
			t.Errorf("free in %v", freeIn)
		}
		h.ask(false)
		harness.Receive(t, "the end of the attempt", h.settled)
		if h.err == nil {
			t.Error("the attempt got the key that was taken away from it")
		}
	})
}

func TestForceReleaseNow_DoesNotCallFreeWhatMayStillBeAcquired(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		red := r.redlock(r.open(), Config{})
		warm(t, red)
		_, seen := voting(t, r, red)
		if err := red.ForceReleaseNow(t.Context(), seen); !errors.Is(err, ErrMayBeAcquired) {
			t.Errorf("it ended by %v", err)
		}
		if left := r.Having("lock:k"); len(left) > 0 {
			t.Errorf("nodes %v have the key", left)
		}
	})
}

// A node that is down may have the key, so the other two have to be kept from the holder.
func TestForceRelease_WithoutANodeOfABareQuorum(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		red := r.redlock(r.open(impatient), Config{})
		warm(t, red)
		h, err := red.newHold("k", Request{})
		must(t, err)
		for i := range 3 {
			r.Put(i, "lock:k", h.Value(), 30*time.Second)
		}
		seen := inspect(t, red, "k")
		r.Stop(0)
		_, err = red.ForceRelease(t.Context(), seen, "ann")
		must(t, err)
		if kept := r.Having("lock:k"); len(kept) != 4 {
			t.Errorf("the key is kept on nodes %v", kept)
		}
	})
}
