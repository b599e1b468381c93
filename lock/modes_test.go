package lock

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// modeOf is what k says of a key, by Inspect and by List.
func modeOf(t *testing.T, k *Locker, key string) Inspection {
	t.Helper()
	i, err := k.Inspect(t.Context(), key)
	must(t, err)
	all, err := k.List(t.Context(), key)
	must(t, err)
	if len(all) != 1 || all[0].Mode() != i.Mode() {
		t.Fatalf("listed as %+v, inspected as %v", all, i.Mode())
	}
	return i
}

func TestInspection_Mode_SaysHowAKeyIsHeld(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		k, other, watcher := patient(t, s), patient(t, s), process(t, s)
		before := time.Now().Truncate(time.Millisecond)
		lock(t, k, "mode:exclusive", Owner("report"))
		lock(t, k, "mode:shared", Shared())
		lock(t, other, "mode:shared", Shared())
		lock(t, k, "mode:limit", Limit(3))
		lock(t, other, "mode:limit", Limit(3))
		moved := lock(t, k, "mode:detached")
		_, err := moved.Detach(t.Context())
		must(t, err)
		for key, want := range map[string]struct {
			mode           Mode
			readers, slots int
		}{
			"mode:exclusive": {ModeExclusive, 0, 0}, "mode:shared": {ModeShared, 2, 0}, "mode:limit": {ModeLimit, 0, 2}, "mode:detached": {ModeDetached, 0, 0},
		} {
			i := modeOf(t, watcher, key)
			if i.Mode() != want.mode || len(i.Readers) != want.readers || len(i.Slots) != want.slots {
				t.Errorf("%s is %v, with %d readers and %d slots: %+v", key, i.Mode(), len(i.Readers), len(i.Slots), i)
			}
			if since := i.Since(); since.Before(before) || since.After(time.Now()) {
				t.Errorf("%s began at %v; it is %v", key, since, time.Now())
			}
			if i.Holder.MayRetain {
				t.Errorf("%s may be retained by a process that retains nothing", key)
			}
		}
		i, err := watcher.Inspect(t.Context(), "mode:none")
		if err != nil || i.Mode() != "" || !i.Since().IsZero() {
			t.Errorf("a free key: %v since %v, %v", i.Mode(), i.Since(), err)
		}
		seen, err := watcher.Inspect(t.Context(), "mode:exclusive")
		must(t, err)
		_, err = watcher.ForceRelease(t.Context(), seen, "ann")
		must(t, err)
		if i, err := watcher.Inspect(t.Context(), "mode:exclusive"); err != nil || i.Mode() != ModeForced {
			t.Errorf("a key that was taken away: %v, %v", i.Mode(), err)
		}
	})
}

// The lock key of a key with a limit names no holder: what was taken away is in its
// slots.
func TestInspection_Mode_OfAKeyWhoseSlotsWereTakenAway(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		k, watcher := patient(t, s), patient(t, s)
		first := lock(t, k, "mode:slots", Limit(3))
		lock(t, k, "mode:slots", Limit(3))
		take := func(slots func(Slot) bool) Inspection {
			t.Helper()
			seen := modeOf(t, watcher, "mode:slots")
			seen.Slots = slices.DeleteFunc(seen.Slots, func(s Slot) bool { return !slots(s) })
			_, err := watcher.ForceRelease(t.Context(), seen, "ann")
			must(t, err)
			return modeOf(t, watcher, "mode:slots")
		}
		i := take(func(s Slot) bool { return s.Number == first.Slot() })
		for _, slot := range i.Slots {
			if slot.Forced() != (slot.Number == first.Slot()) {
				t.Errorf("slot %d was taken away: %t, and the first is %d", slot.Number, slot.Forced(), first.Slot())
			}
		}
		if i.Mode() != ModeLimit || len(i.Slots) != 2 {
			t.Errorf("with one slot taken away: %v, %+v", i.Mode(), i.Slots)
		}
		if i = take(func(s Slot) bool { return !s.Forced() }); i.Mode() != ModeForced {
			t.Errorf("with all slots taken away: %v, %+v", i.Mode(), i.Slots)
		}
		lock(t, watcher, "mode:slots", Limit(3))
		if i := modeOf(t, watcher, "mode:slots"); i.Mode() != ModeLimit {
			t.Errorf("with a new holder: %v, %+v", i.Mode(), i.Slots)
		}
	})
}

// A key that a Downgrade has shared keeps the value of its writer, which says that
// it may be retained. A reader's key never is.
func TestInspection_Mode_ADowngradedHolderMayNotRetainTheKey(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s, cluster.Config{})
		k := locker(t, c, Config{Retain: 20 * time.Second})
		l := lock(t, k, "mode:downgraded")
		if i := modeOf(t, k, "mode:downgraded"); !i.Holder.MayRetain {
			t.Errorf("a writer that may retain the key: %+v", i.Holder)
		}
		must(t, l.Downgrade(t.Context()))
		i := modeOf(t, k, "mode:downgraded")
		if i.Mode() != ModeShared || len(i.Readers) != 1 || i.Readers[0].MayRetain {
			t.Errorf("%v by %+v", i.Mode(), i.Readers)
		}
	})
}

// Nodes do not know whether a key is retained, but that it may be.
func TestInspection_Mode_OnlyTheProcessKnowsThatItRetainsAKey(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s, cluster.Config{})
		k, beside, watcher := locker(t, c, Config{Retain: 20 * time.Second}), locker(t, c, Config{}), process(t, s)
		mailbox(t, k)
		held := lock(t, k, "kept")
		for name, who := range map[string]*Locker{"its Locker": k, "a Locker beside it": beside, "another process": watcher} {
			if i := modeOf(t, who, "kept"); i.Mode() != ModeExclusive || !i.Holder.MayRetain {
				t.Errorf("held, %s: %v, may be retained: %t", name, i.Mode(), i.Holder.MayRetain)
			}
		}
		release(t, held)
		began := time.Now()
		for name, tt := range map[string]struct {
			who  *Locker
			want Mode
		}{"its Locker": {k, ModeRetained}, "a Locker beside it": {beside, ModeRetained}, "another process": {watcher, ModeExclusive}} {
			if i := modeOf(t, tt.who, "kept"); i.Mode() != tt.want {
				harness.Missed(t, began, "retained, %s: %v, want %v", name, i.Mode(), tt.want)
			}
		}
		again := lock(t, k, "kept")
		if i := modeOf(t, k, "kept"); i.Mode() != ModeExclusive {
			t.Errorf("locked again: %v", i.Mode())
		}
		must(t, again.Release(context.Background()))
	})
}
