package keepalive

import (
	"maps"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/quorumlock"
)

// holding fails unless s renews these numbers of keys.
func holding(t *testing.T, s *Leases, exclusive, shared, limit, retained int) {
	t.Helper()
	s.renewer.mu.Lock()
	defer s.renewer.mu.Unlock()
	got := maps.Clone(s.renewer.byMode)
	want := map[quorumlock.Mode]int{quorumlock.ModeExclusive: exclusive, quorumlock.ModeShared: shared, quorumlock.ModeLimit: limit, quorumlock.ModeRetained: retained}
	for mode, n := range want {
		if got[mode] != n {
			t.Errorf("%d keys of the mode %s, want %d", got[mode], mode, n)
		}
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
