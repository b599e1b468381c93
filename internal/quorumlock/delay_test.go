package quorumlock

import (
	"slices"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// Every way to set a key keeps it for the delay, too, and none moves the
// deadline.
func TestLockDelay_IsAddedWhereverAKeyIsSet(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		const delay = 10 * time.Hour
		red := r.redlock(nil, Config{})
		red.SetLockDelay(delay)
		var began time.Time
		kept := func(how string, h *Hold, until time.Time) {
			t.Helper()
			harness.Eventually(t, "every node has answered", h.landed)
			if got := results(h); slices.Contains(got, Failed) {
				harness.Missed(t, began, "%s: the nodes answered %v", how, got)
			}
			for i, c := range r.Clients {
				if left := c.PTTL(t.Context(), "lock:k").Val(); left <= delay || left > delay+lasting {
					t.Errorf("%s: node %d keeps the key for %v", how, i, left)
				}
			}
			if time.Until(until) > lasting {
				t.Errorf("%s: the deadline is %v away", how, time.Until(until))
			}
		}
		r.seen(red, "k")
		began = time.Now()
		before, _ := r.asked()
		h := acquire(t, red, "k", Request{First: true})
		harness.Eventually(t, "every node has answered", h.landed)
		if transactions, _ := r.asked(); transactions == before && r.Commands(0)["msetnx"] > 0 {
			t.Error("no transaction was sent")
		}
		kept("acquired at the first look", h, h.Deadline())
		must(t, h.Release(t.Context()))
		r.free("k")

		h = acquireEverywhere(t, red, "k", Request{})
		kept("acquired by script", h, h.Deadline())
		for _, how := range []string{"renewed", "set again"} {
			for _, c := range r.Clients {
				c.PExpire(t.Context(), "lock:k", lasting)
			}
			if how == "set again" {
				r.Clients[2].Del(t.Context(), "lock:k")
			}
			must(t, h.ExtendNow(t.Context(), lasting))
			kept(how, h, h.Deadline())
		}
		handle, err := h.Detach(t.Context())
		must(t, err)
		kept("detached", h, handle.Until.Add(-delay))
		if time.Until(handle.Until) < delay {
			t.Errorf("the handle is valid for %v only", time.Until(handle.Until))
		}
		for _, c := range r.Clients {
			c.PExpire(t.Context(), "lock:k", lasting)
		}
		h = attach(t, red, handle)
		kept("attached", h, h.Deadline())
	})
}
