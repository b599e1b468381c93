package session

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestStore_List_ReturnsTheUsersSessionsWithoutIDs(t *testing.T) {
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

// Nodes are asked for a hundred sessions at a time, even if all of them end at
// the same moment.
func TestStore_List_ReadsALongOneInParts(t *testing.T) {
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
		return nodes.Commands(0)["evalsha"] - before - 2 // without the scripts of settled
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

// The size of one answer of a node is bounded, whatever Config.MaxSize is.
func TestStore_List_ReadsLargeSessionsInSmallerParts(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int{1: maxListed, 64 << 10: maxListed, 1 << 20: 8, maxSize: 1} {
		if got := (&Store{cfg: Config{MaxSize: size}}).listed(); got != want {
			t.Errorf("%d sessions of up to %d bytes at a time, want %d", got, size, want)
		}
	}
}
