package keepalive

import (
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/quorumlock"
)

// holding fails unless s renews these numbers of keys.
func holding(t *testing.T, s *Leases, exclusive, shared, limit, retained int) {
	t.Helper()
	s.renewer.mu.Lock()
	defer s.renewer.mu.Unlock()
	if got, want := s.renewer.byMode, [...]int{exclusive, shared, limit, retained}; got != want {
		t.Errorf("%d keys of the modes %v, want %d", got, renewedModes, want)
	}
	if all := exclusive + shared + limit + retained; len(s.renewer.queue) != all {
		t.Errorf("%d keys are renewed, want %d", len(s.renewer.queue), all)
	}
}

func TestLeases_CountWhatTheyRenewByMode(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := retaining(t, newMemory(t, 3), long)
		own := locked(t, s, "own", Request{})
		one, two := locked(t, s, "shared", Request{Shared: true}), locked(t, s, "shared", Request{Shared: true})
		slots := []*Lease{locked(t, s, "limit", Request{Limit: 2}), locked(t, s, "limit", Request{Limit: 2})}
		holding(t, s, 1, 1, 2, 0)
		release(t, one)
		release(t, slots[0])
		holding(t, s, 1, 1, 1, 0)
		must(t, own.Downgrade(t.Context()))
		holding(t, s, 0, 2, 1, 0)
		kept := locked(t, s, "kept", Request{})
		holding(t, s, 1, 2, 1, 0)
		release(t, kept)
		holding(t, s, 0, 2, 1, 1)
		kept = locked(t, s, "kept", Request{})
		holding(t, s, 1, 2, 1, 0)
		release(t, kept)
		for _, l := range []*Lease{own, two, slots[1]} {
			release(t, l)
		}
		holding(t, s, 0, 0, 0, 1)
		time.Sleep(long + time.Second)
		holding(t, s, 0, 0, 0, 0)
	})
}

// A listing of many locks is looked through for what is retained, which mostly is
// nothing.
func TestLeases_MarkRetained_CostsNothingWhereNothingIsRetained(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := retaining(t, newMemory(t, 3), long)
		all := []quorumlock.Inspection{{Key: "a key whose name on the nodes does not fit into any small buffer"}}
		release(t, locked(t, s, "kept", Request{}))
		release(t, locked(t, s, "kept", Request{Shared: true})) // ends the retention
		if n := testing.AllocsPerRun(10, func() { s.MarkRetained(all) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// What the nodes say may be about another holder, or older than the retention.
func TestLeases_MarkRetained_OnlyTheHoldThatIsRetainedNow(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := retaining(t, nodes, long)
		is := func(what string, want bool, all ...quorumlock.Inspection) {
			t.Helper()
			if len(all) == 0 {
				i, err := s.Redlock().Inspect(t.Context(), "job")
				must(t, err)
				all = append(all, i)
			}
			s.MarkRetained(all)
			if all[0].Retained != want {
				t.Errorf("%s: retained is %t", what, all[0].Retained)
			}
		}
		l := locked(t, s, "job", Request{})
		held, err := s.Redlock().Inspect(t.Context(), "job")
		must(t, err)
		is("held", false, held)
		release(t, l)
		is("retained", true)
		is("seen before its release", true, held)
		l = locked(t, s, "job", Request{})
		is("held again", false)
		release(t, l)
		for _, n := range nodes {
			n.Set("lock:job", "by hand")
		}
		is("taken by another", false)
	})
}
