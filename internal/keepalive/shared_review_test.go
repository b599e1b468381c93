package keepalive

import (
	"testing"
	"time"
)

// A leave is sent once, and may be lost. The place of readers that it left does not
// have later readers of that process pass a writer that waits.
func TestShared_APlaceOfReadersWhoseLeaveWasLostPassesNoWriter(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		set := nodes.open(t, &gate{})
		one, two := lease(t, set, Config{Backoff: hourly}), lease(t, set, Config{Backoff: hourly})
		other := lease(t, nodes.open(t, &gate{}), Config{})
		for _, s := range []*Leases{one, two, other} {
			<-s.opened
		}
		for _, n := range nodes {
			_, err := n.ZAdd("{lock:job}:queue", 1, set.Process()+"/shared")
			must(t, err)
			n.SetTTL("{lock:job}:queue", time.Hour)
		}
		last := locked(t, one, "job", reads)
		writer := locking(t.Context(), other, "job", Request{})
		time.Sleep(time.Second)
		ctx := t.Context()
		for i := range 200 { // each begins before the last one ends
			s := []*Leases{two, one}[i%2]
			next := locking(ctx, s, "job", reads)
			time.Sleep(100 * time.Millisecond)
			if len(next) == 0 { // it waits for the writer, as it should
				must(t, last.Release(ctx))
				must(t, given(t, writer).Release(ctx))
				must(t, given(t, next).Release(ctx))
				return
			}
			got := given(t, next)
			must(t, last.Release(ctx))
			last = got
		}
		t.Error("200 readers in 20 s passed the writer that waits")
		must(t, last.Release(ctx))
		must(t, given(t, writer).Release(ctx))
	})
}

// The metric of the longest hold counts readers.
func TestShared_TheLongestHoldMayBeAReaders(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		l := locked(t, s, "job", reads)
		l.parent = datedParent{t.Context(), time.Now()}
		time.Sleep(time.Minute)
		if d := s.renewer.longest(time.Now()); d < time.Minute {
			t.Errorf("%v", d)
		}
	})
}
