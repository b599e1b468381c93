package cache_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// ownerOf returns the node that stores a key's entry.
func ownerOf(t *testing.T, s harness.Set, key string) int {
	t.Helper()
	for i := range s.Len() {
		if slices.Contains(harness.Keys(t, s, i), "cache:v:{"+key+"}") {
			return i
		}
	}
	t.Fatalf("no node has %q", key)
	return 0
}

// process is a Cache on an impatient Cluster of its own.
type process struct {
	*cache.Cache[string]
	c *cluster.Cluster
}

func start(t *testing.T, s harness.Set) process {
	t.Helper()
	c := impatient(t, s)
	return process{newOn(t, c, cache.Config[string]{TTL: time.Hour, StaleFor: time.Hour, LoadTimeout: time.Minute, LeaseTTL: time.Minute}), c}
}

func (p process) up(i int) bool { return p.c.Status()[i].Up }

// neverGives reads key until each process has reached node i again, and for a
// while longer. It fails if it reads old.
func neverGives(t *testing.T, i int, key, old string, all ...process) {
	t.Helper()
	look := func() bool {
		up := true
		for _, p := range all {
			if v, _, err := p.Get(t.Context(), key); err == nil && v == old {
				t.Fatalf("%q is served", old)
			}
			up = up && p.up(i)
		}
		return up
	}
	harness.Eventually(t, "the node is found again", look)
	for range 50 {
		look()
	}
}

func TestStandIn_ServesWhileTheOwnerIsDown(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		for _, lose := range []bool{true, false} {
			a, b := start(t, s), start(t, s)
			must(t, a.Set(t.Context(), "k", "old"))
			owner := ownerOf(t, s, "k")
			s.Stop(owner)
			if v, err := a.Fetch(t.Context(), "k", fixed("new")); v != "new" || err != nil {
				t.Fatalf("without its owner: %q, %v", v, err)
			}
			if v, err := b.Fetch(t.Context(), "k", fixed("not loaded")); v != "new" || err != nil {
				t.Errorf("in the other process: %q, %v", v, err)
			}
			second := standInOf(t, s, "k", owner)
			if ttl := harness.Client(t, s, second).PTTL(t.Context(), "cache:v:{k}").Val(); ttl > 10*time.Second {
				t.Errorf("its TTL there is %v", ttl)
			}
			must(t, a.Delete(t.Context(), "k"))
			gives(t, b.Cache, "k", "")
			must(t, s.Restart(owner, lose))
			// The node has its data from before the deletion. The reader
			// ignores it by its own rule, without the pending deletion.
			neverGives(t, owner, "k", "old", a, b)
			must(t, a.Delete(t.Context(), "k"))
			closes(t, a.Close)
			closes(t, b.Close)
		}
	})
}

// The stale entries of a lost node cannot be served; those of its stand-in
// can.
func TestStandIn_ServesItsOwnStaleValue(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a := start(t, s)
		boom := errors.New("boom")
		fails := func(context.Context) (string, error) { return "", boom }
		must(t, a.Set(t.Context(), "k", "lost"))
		owner := ownerOf(t, s, "k")
		s.Stop(owner)
		if v, err := a.Fetch(t.Context(), "k", fails); v != "" || !errors.Is(err, boom) {
			t.Errorf("no node has it: %q, %v", v, err)
		}
		must(t, a.Set(t.Context(), "k", "kept", cache.TTL(time.Millisecond)))
		harness.Eventually(t, "it has expired", func() bool { _, ok, err := a.Get(t.Context(), "k"); return !ok && err == nil })
		if v, err := a.Fetch(t.Context(), "k", fails); v != "kept" || err != nil {
			t.Errorf("for a failed load: %q, %v", v, err)
		}
		if n := a.Stats().Stale; n != 1 {
			t.Errorf("%d stale values served", n)
		}
		second := standInOf(t, s, "k", owner)
		if ttl := harness.Client(t, s, second).PTTL(t.Context(), "cache:v:{k}").Val(); ttl > 10*time.Second {
			t.Errorf("its TTL there is %v", ttl)
		}
		must(t, a.Delete(t.Context(), "k"))
		if v, err := a.Fetch(t.Context(), "k", fails); v != "" || !errors.Is(err, boom) {
			t.Errorf("after it was deleted: %q, %v", v, err)
		}
	})
}

// standInOf returns the node other than gone that stores a key's entry.
func standInOf(t *testing.T, s harness.Set, key string, gone int) int {
	t.Helper()
	for i := range s.Len() {
		if i != gone && slices.Contains(harness.Keys(t, s, i), "cache:v:{"+key+"}") {
			return i
		}
	}
	t.Fatalf("no node stands in for %q", key)
	return 0
}

// A process that still sees the owner down must not be served the old entry of
// the stand-in.
func TestStandIn_LosesItsEntryWithADelete(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a := start(t, s)
		for name, change := range map[string]func() error{
			"set":         func() error { return a.Set(t.Context(), "k", "set") },
			"delete":      func() error { return a.Delete(t.Context(), "k") },
			"delete many": func() error { return a.DeleteMany(t.Context(), "k") },
		} {
			harness.Eventually(t, "it is set", func() bool { return a.Set(t.Context(), "k", "old") == nil })
			owner := ownerOf(t, s, "k")
			s.Stop(owner)
			if v, err := a.Fetch(t.Context(), "k", fixed("new")); v != "new" || err != nil {
				t.Fatalf("without its owner: %q, %v", v, err)
			}
			second := standInOf(t, s, "k", owner)
			must(t, s.Restart(owner, true))
			harness.Eventually(t, "the owner is back", func() bool { return a.up(owner) })
			must(t, change())
			if keys := harness.Keys(t, s, second); len(keys) != 0 {
				t.Errorf("%s: the stand-in still has %q", name, keys)
			}
		}
	})
}

func TestCache_Get_ServesNothingFromBeforeARestart(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a := start(t, s)
		must(t, a.Set(t.Context(), "k", "old"))
		s.Stop(0)
		closes(t, a.Close) // so no process has a pending deletion
		must(t, s.Restart(0, false))
		b := start(t, s)
		if keys := harness.Keys(t, s, 0); len(keys) != 1 {
			t.Fatalf("the restarted node has %q", keys)
		}
		gives(t, b.Cache, "k", "")
		if v, err := b.Fetch(t.Context(), "k", fixed("new")); v != "new" || err != nil {
			t.Errorf("fetched %q, %v", v, err)
		}
		gives(t, b.Cache, "k", "new")
	})
}

func TestCache_Get_ServesNothingDeletedDuringAnOutage(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		for _, dies := range []bool{false, true} {
			a, b := start(t, s), start(t, s)
			must(t, a.Set(t.Context(), "k", "old"))
			owner := ownerOf(t, s, "k")
			s.Pause(owner)
			harness.Eventually(t, "a notices", func() bool { a.Get(t.Context(), "k"); return !a.up(owner) })
			harness.Eventually(t, "b notices", func() bool { b.Get(t.Context(), "k"); return !b.up(owner) })
			must(t, a.Delete(t.Context(), "k")) // the owner does not receive it now
			if dies {
				closes(t, a.Close)
				closes(t, a.c.Close)
				s.Resume(owner)
				neverGives(t, owner, "k", "old", b)
			} else {
				s.Resume(owner)
				neverGives(t, owner, "k", "old", a, b)
				client := harness.Client(t, s, owner)
				if n := client.Exists(t.Context(), "cache:v:{k}").Val(); n != 0 {
					t.Error("it did not receive its pending deletion")
				}
			}
		}
	})
}

// The lease is from before the outage, in which a deletion was missed.
func TestFillLease_FromBeforeAnOutageStoresNothing(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a := start(t, s)
		g := newGate()
		got := fetching(t.Context(), a.Cache, "k", g.load)
		harness.Receive(t, "the load began", g.began)
		s.Pause(0)
		harness.Eventually(t, "it is noticed", func() bool { a.Get(t.Context(), "other"); return !a.up(0) })
		s.Resume(0)
		harness.Eventually(t, "it is back, and what it stores now is served", func() bool {
			a.Set(t.Context(), "other", "v")
			_, ok, _ := a.Get(t.Context(), "other")
			return ok
		})
		g.give <- "old"
		harness.Receive(t, "it is served", got)
		gives(t, a.Cache, "k", "")
	})
}

// The load outlasts the TTL, and its process does not notice that the owner was
// unreachable: the pending deletion has to outlast the lease.
func TestCache_Delete_IsPendingAsLongAsALoadMayBeStored(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, bc := open(t, s), impatient(t, s)
		cfg := cache.Config[string]{TTL: time.Millisecond, LoadTimeout: time.Minute, LeaseTTL: time.Minute}
		loader, b := newOn(t, a, cfg), newOn(t, bc, cfg)
		g := newGate()
		got := fetching(t.Context(), loader, "k", g.load)
		harness.Receive(t, "the load began", g.began)
		owner := slices.IndexFunc([]int{0, 1}, func(i int) bool {
			return slices.Contains(harness.Keys(t, s, i), "cache:l:{k}")
		})
		s.Pause(owner)
		harness.Eventually(t, "it is noticed", func() bool { b.Get(t.Context(), "k"); return !bc.Status()[owner].Up })
		must(t, b.Delete(t.Context(), "k")) // the stand-in confirms it; the owner does not receive it now
		s.Resume(owner)
		harness.Eventually(t, "the owner is back, and paid", func() bool {
			return bc.Status()[owner].Up && !slices.Contains(harness.Keys(t, s, owner), "cache:l:{k}")
		})
		g.give <- "old"
		harness.Receive(t, "it is served", got)
		if n := loader.Stats().Refused; n != 1 {
			t.Errorf("%d fills were refused", n)
		}
	})
}

// loadsByItself fails unless c loads "k" while all its nodes are down.
func loadsByItself(t *testing.T, c process) {
	t.Helper()
	if _, ok, err := c.Get(t.Context(), "k"); ok || !errors.Is(err, cluster.ErrNodeDown) {
		t.Errorf("Get: %v, %v", ok, err)
	}
	if v, err := c.Fetch(t.Context(), "k", fixed("loaded")); v != "loaded" || err != nil {
		t.Errorf("Fetch: %q, %v", v, err)
	}
	got, err := c.FetchMany(t.Context(), []string{"k"}, func(context.Context, []string) (map[string]string, error) {
		return map[string]string{"k": "loaded"}, nil
	})
	if got["k"] != "loaded" || err != nil {
		t.Errorf("FetchMany: %v, %v", got, err)
	}
}

func TestCache_WithoutNodesFetchLoadsAndDeleteFails(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a := start(t, s)
		must(t, a.Set(t.Context(), "k", "old"))
		for i := range s.Len() {
			s.Stop(i)
		}
		err := a.Delete(t.Context(), "k")
		var u *cache.UnreachedError
		if !errors.Is(err, cache.ErrUnreached) || !errors.As(err, &u) || len(u.Nodes) != 2 {
			t.Errorf("Delete: %v", err)
		}
		for _, err := range []error{a.Set(t.Context(), "k", "v"), a.DeleteMany(t.Context(), "j", "k"), a.DeleteTag(t.Context(), "t")} {
			if !errors.Is(err, cache.ErrUnreached) {
				t.Errorf("got %v", err)
			}
		}
		loadsByItself(t, a)
		if st := a.Stats(); st.Unleased != 2 || st.Owed < 2 {
			t.Errorf("stats %+v", st)
		}
		for i := range s.Len() {
			must(t, s.Restart(i, false))
		}
		neverGives(t, 0, "k", "old", a)
		neverGives(t, 1, "k", "old", a)
	})
}
