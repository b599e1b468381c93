package quorumlock

import (
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// A renewal whose replies are lost heals the nodes of a key that a writer has had
// since. The round after it finds them owned, and must not count them.
func TestShared_ADowngradeRevivesNoHoldThatAnUndecidedRenewalHealed(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, other := r.redlock(r.open(func(c *nodeset.Config) { c.NodeTimeout = 200 * time.Millisecond }), Config{TTL: time.Minute}), r.redlock(nil, Config{})
		warm(t, red)
		warm(t, other)
		h := acquireEverywhere(t, red, "k", Request{TokenBlock: 4})
		seen, err := other.Inspect(t.Context(), "k")
		must(t, err)
		must(t, other.ForceReleaseNow(t.Context(), seen))
		w := acquireEverywhere(t, other, "k", Request{})
		must(t, w.Release(t.Context()))
		harness.Eventually(t, "free", func() bool { return r.Get(0, "lock:k")+r.Get(1, "lock:k")+r.Get(2, "lock:k") == "" })
		r.pause(1, 2)
		verdict := make(chan Verdict, 1)
		h.Extend(h.TTL(), func(v Verdict) { verdict <- v })
		v := harness.Receive(t, "the renewal", verdict)
		r.resume(1, 2)
		t.Log("verdict", v, v == Undecided)
		for range 50 {
			if r.Get(1, "lock:k") == h.Value() {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Log(r.Get(0, "lock:k"), r.Get(1, "lock:k"), r.Get(2, "lock:k"))
		token := h.EndWriting()
		for range 50 {
			err = h.ShareNow(t.Context())
			if err == nil || errors.Is(err, ErrLost) {
				break
			}
			t.Log(err)
			time.Sleep(100 * time.Millisecond)
		}
		if !errors.Is(err, ErrLost) {
			t.Errorf("a downgrade with token %d after a writer with %d: %v", token, w.Token(), err)
		}
	})
}
