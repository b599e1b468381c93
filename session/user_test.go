package session

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestListNamesTheSessionsOfAUserWithoutTheirIDs(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		first := create(t, s, "ann", data{"on": "phone"})
		create(t, s, "bob", nil)
		ended := create(t, s, "ann", nil)
		must(t, ended.Destroy(t.Context()))
		var second *Session
		without(t, s, nodes, []int{0, 1}, func() { second = create(t, s, "ann", data{"on": "desk"}) })
		only(t, s, nodes, 0, 1, 2)
		list, err := s.List(t.Context(), "ann")
		if err != nil || len(list) != 2 {
			t.Fatalf("%d sessions, %v", len(list), err)
		}
		has(t, list[0], "on", "phone")
		has(t, list[1], "on", "desk")
		for _, ss := range list {
			if ss.ID() != "" {
				t.Error("a list knows ids")
			}
		}
		must(t, list[0].Destroy(t.Context()))
		gone(t, s, first.ID())
		must(t, s.Destroy(t.Context(), list[1].Handle()))
		gone(t, s, second.ID())
		all(t, s, nodes)
	})
}

func TestLogoutAllEndsWhatWasAndNotWhatComes(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		before, bob := create(t, s, "ann", nil), create(t, s, "bob", nil)
		without(t, s, nodes, []int{0, 1}, func() { must(t, s.LogoutAll(t.Context(), "ann", nil)) })
		after := create(t, s, "ann", nil)
		only(t, s, nodes, 0, 1, 2) // two have not heard of it
		gone(t, s, before.ID())
		load(t, s, after.ID())
		load(t, s, bob.ID())
		all(t, s, nodes)
		must(t, before.Set("a", 1))
		if err := before.Commit(t.Context()); !errors.Is(err, ErrSessionGone) {
			t.Errorf("a commit to one that was logged out: %v", err)
		}
		if list, err := s.List(t.Context(), "ann"); err != nil || len(list) != 1 {
			t.Errorf("%d are left, %v", len(list), err)
		}
	})
}

func TestLogoutAllButOne(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		a, b := create(t, s, "ann", data{"at": "a"}), create(t, s, "ann", nil)
		idA := a.ID()
		must(t, s.LogoutAll(t.Context(), "ann", a))
		if a.ID() == idA {
			t.Error("the one that stays has its old id")
		}
		has(t, load(t, s, a.ID()), "at", "a")
		gone(t, s, idA)
		gone(t, s, b.ID())
		// One that was logged out can not be kept.
		if err := s.LogoutAll(t.Context(), "ann", b); !errors.Is(err, ErrSessionGone) {
			t.Errorf("it was kept: %v", err)
		}
		load(t, s, a.ID())
	})
}

// Whatever the clocks of the processes say, the order of log-in and log-out is that in which they happened.
func TestLogoutAllOrdersByWhatHappenedAndNotByClocks(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s, ahead := store(t, nodes, Config{}), store(t, nodes, Config{})
	ahead.clock.last.Store(time.Now().Add(time.Hour).UnixMicro())
	early := create(t, ahead, "ann", nil) // an hour later than the log-out, by the clocks
	must(t, s.LogoutAll(t.Context(), "ann", nil))
	gone(t, s, early.ID())
	must(t, ahead.LogoutAll(t.Context(), "bob", nil))
	late := create(t, s, "bob", nil) // an hour earlier than the log-out
	load(t, ahead, late.ID())
	must(t, ahead.LogoutAll(t.Context(), "bob", nil))
	kept := create(t, s, "bob", nil)
	must(t, s.LogoutAll(t.Context(), "bob", kept))
	load(t, s, kept.ID())
	gone(t, s, late.ID())
}

func TestRenewMovesTheSessionToANewID(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		ss := create(t, s, "", data{"cart": 1})
		other := load(t, s, ss.ID())
		set(t, other, "seen", true)
		old := ss.ID()
		must(t, ss.Set("cart", 2))
		must(t, ss.Renew(t.Context(), As("ann")))
		gone(t, s, old)
		now := load(t, s, ss.ID())
		has(t, now, "cart", 2)
		has(t, now, "seen", true) // which ss had not loaded
		if now.User() != "ann" {
			t.Errorf("it is %q's", now.User())
		}
		if err := other.Renew(t.Context()); !errors.Is(err, ErrSessionGone) {
			t.Errorf("it was renewed twice: %v", err)
		}
		if list, err := s.List(t.Context(), "ann"); err != nil || len(list) != 1 || list[0].hash != ss.hash {
			t.Errorf("the index has %v, %v", list, err)
		}
		deadline := ss.Deadline()
		must(t, ss.Renew(t.Context()))
		if !ss.Deadline().Equal(deadline) {
			t.Error("a renewal without log-in moved the absolute deadline")
		}
		if list, err := s.List(t.Context(), "ann"); err != nil || len(list) != 1 || list[0].hash != ss.hash {
			t.Errorf("the index has %v, %v", list, err)
		}
	})
}

func TestWithinTheGraceTheOldIDLeadsToTheNewSession(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s := locking(t, nodes, Config{})
		ss := create(t, s, "ann", data{"a": 1})
		old := ss.ID()
		must(t, ss.Renew(t.Context(), Grace(time.Minute)))
		late := load(t, s, old)
		if late.ID() != "" || late.Handle() != ss.Handle() {
			t.Errorf("it is %q, %q", late.ID(), late.Handle())
		}
		set(t, late, "a", 2)
		has(t, load(t, s, ss.ID()), "a", 2)
		if err := s.Update(t.Context(), old, nil); !errors.Is(err, ErrSessionGone) {
			t.Errorf("an update by the old id, under its lock: %v", err)
		}
		must(t, s.Destroy(t.Context(), old)) // means the session
		gone(t, s, ss.ID())
		gone(t, s, old)
	})
}

func TestADestroyThatComesBesideARenewalWins(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", nil)
	stale := load(t, s, ss.ID())
	without(t, s, nodes, []int{0, 1}, func() { must(t, ss.Destroy(t.Context())) })
	only(t, s, nodes, 0, 1, 2)
	if err := stale.Renew(t.Context()); !errors.Is(err, ErrSessionGone) {
		t.Errorf("renewed: %v", err)
	}
	if list, err := s.List(t.Context(), "ann"); err != nil || len(list) != 0 {
		t.Errorf("it left %d sessions, %v", len(list), err)
	}
	all(t, s, nodes)
}

// Nodes are asked for a hundred sessions at a time, also where all of them end at the same moment.
func TestALongListIsReadInParts(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	const n = maxListed + maxListed/2
	var wg sync.WaitGroup
	began, failed := time.Now(), make([]error, n)
	for i := range n {
		wg.Go(func() { _, failed[i] = s.Create(t.Context(), "ann", data{"i": i}) })
	}
	wg.Wait()
	harness.Must(t, began, errors.Join(failed...))
	list := func() (scripts int64) {
		t.Helper()
		settled(t, s)
		before := nodes.Commands(0)["evalsha"]
		list, err := s.List(t.Context(), "ann")
		must(t, err)
		seen := map[int]bool{}
		for _, ss := range list {
			i, _, err := Get[int](ss, "i")
			must(t, err)
			seen[i] = true
		}
		if len(list) != n || len(seen) != n {
			t.Errorf("%d sessions, %d different ones; want %d", len(list), len(seen), n)
		}
		settled(t, s)
		return nodes.Commands(0)["evalsha"] - before - 2 // those of settled
	}
	if scripts := list(); scripts != 2 {
		t.Errorf("it took %d scripts on each node", scripts)
	}
	end := time.Now().Add(time.Hour).UnixMicro()
	for i := range nodes.Len() {
		cl, heads := harness.Client(t, nodes, i), map[string]*redis.StringCmd{}
		index := cl.ZRange(t.Context(), "session:user:ann", 0, -1).Val()
		_, err := cl.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for _, hashed := range index {
				heads[hashed] = p.HGet(t.Context(), "session:"+hashed, "h")
			}
			return nil
		})
		must(t, err)
		_, err = cl.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for hashed, head := range heads {
				h := head.Val()
				h = h[:headWidth-2*timeWidth] + stamp(end) + h[headWidth-timeWidth:]
				p.ZAdd(t.Context(), "session:user:ann", redis.Z{Score: float64(end), Member: hashed})
				p.HSet(t.Context(), "session:"+hashed, "h", h)
			}
			return nil
		})
		must(t, err)
	}
	if scripts := list(); scripts != 3 { // for 100 from the beginning, and 100 and 200 from that moment on
		t.Errorf("it took %d scripts on each node", scripts)
	}
}

// What a node tells at once is bounded in bytes, whatever Config.MaxSize is.
func TestAListOfLargeSessionsIsReadInSmallerParts(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int{1: maxListed, 64 << 10: maxListed, 1 << 20: 8, maxSize: 1} {
		if got := (&Store{cfg: Config{MaxSize: size}}).listed(); got != want {
			t.Errorf("%d sessions of up to %d bytes at a time, want %d", got, size, want)
		}
	}
}
