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

// The holder's requests reach nodes that were asked already while another has
// not answered yet.
func TestForceRelease_TakesAgainWhatTheHolderSetBesideIt(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, admin := r.redlock(r.open(patient), Config{}), r.redlock(r.open(patient), Config{})
		warm(t, admin)
		h := acquireEverywhere(t, red, "k", Request{})
		seen := inspect(t, admin, "k")
		asked := r.scripts(0)
		r.pause(1)
		ended := make(chan error, 1)
		go func() {
			_, err := admin.ForceRelease(t.Context(), seen, "ann")
			ended <- err
		}()
		for _, i := range []int{0, 2} {
			harness.Eventually(t, "the key is taken away", func() bool { return r.Get(i, "lock:k") != h.Value() })
			r.Put(i, "lock:k", h.Value(), lasting)
		}
		r.resume(1)
		must(t, harness.Receive(t, "the end of the release", ended))
		if passes := r.scripts(0) - asked; passes != 3 {
			t.Errorf("%d passes, the last of which has to find the marks of the one before", passes)
		}
		if err := h.ExtendNow(t.Context(), h.TTL()); !errors.Is(err, ErrLost) {
			t.Errorf("after it, its holder's renewal ended by %v", err)
		}
	})
}

// Renewals have missed the first node. Its mark would expire long before the
// holder's deadline, and the holder would set its value there again.
func TestForceRelease_KeepsTheKeyEverywhereUntilTheHoldersDeadline(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		h := acquireEverywhere(t, red, "k", Request{})
		r.Put(0, "lock:k", h.Value(), lasting/4)
		r.Put(1, "lock:k", h.Value(), lasting)
		freeIn, err := red.ForceRelease(t.Context(), inspect(t, red, "k"), "ann")
		must(t, err)
		if freeIn > lasting {
			t.Errorf("free in %v", freeIn)
		}
		for i := range 3 {
			if left := r.Clients[i].PTTL(t.Context(), "lock:k").Val(); left < lasting/2 {
				t.Errorf("node %d keeps the key for %v", i, left)
			}
		}
	})
}

// One node has the key for a day.
func TestForceRelease_KeepsTheKeyNoLongerThanMaxTTLWhereItWasGone(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{})
		h, err := red.newHold("k", Request{})
		must(t, err)
		r.Put(0, "lock:k", h.Value(), 24*time.Hour)
		_, err = red.ForceRelease(t.Context(), inspect(t, red, "k"), "ann")
		must(t, err)
		for i := 1; i < 3; i++ {
			if left := r.Clients[i].PTTL(t.Context(), "lock:k").Val(); left <= 0 || left > c.Config().MaxTTL {
				t.Errorf("node %d keeps the key for %v", i, left)
			}
		}
	})
}

// Another attempt has the only other node that can be asked. When it lets go, the
// holder may be about to acquire the key there.
func TestForceRelease_DoesNotCallReleasedWhatMayStillBeAcquired(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(r.open(impatient), Config{})
		warm(t, red)
		h, err := red.newHold("k", Request{})
		must(t, err)
		r.Put(0, "lock:k", h.Value(), lasting)
		seen := inspect(t, red, "k")
		r.Put(1, "lock:k", "another", lasting)
		r.Stop(2)
		if _, err := red.ForceRelease(t.Context(), seen, "ann"); !errors.Is(err, ErrMayBeAcquired) {
			t.Errorf("it ended by %v", err)
		}
	})
}

// A mark confirms only if it was there before, and how long the key is kept was
// known then.
func TestForcing_ConfirmsMarksOfThePassBefore(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		n, now, there := r.open().Nodes()[0], []any{int64(1), int64(1000)}, []any{int64(3), int64(1000)}
		for _, tt := range []struct {
			before []bool
			reply  []any
			want   int
		}{
			{nil, there, 0}, {[]bool{false}, there, 0}, {[]bool{true}, now, 0}, {[]bool{true}, there, 1},
		} {
			f := &forcing{before: tt.before, awaited: 1, had: make([]bool, 1), done: make(chan struct{})}
			if f.Receive(n, tt.reply, nil); f.confirmed != tt.want || f.taken != 1 || !f.had[0] {
				t.Errorf("after %v, %v confirms %d, taken from %d", tt.before, tt.reply, f.confirmed, f.taken)
			}
		}
		for _, reply := range []any{[]any{int64(2)}, []any{int64(0)}} {
			f := &forcing{awaited: 1, had: make([]bool, 1), done: make(chan struct{})}
			if f.Receive(n, reply, nil); f.had[0] {
				t.Errorf("%v is taken for a node with the mark", reply)
			}
		}
	})
}
