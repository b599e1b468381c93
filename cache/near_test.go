package cache_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/internal/test/harness"
)

var withNear = cache.Config[string]{TTL: time.Hour, Near: &cache.Near{TTL: 30 * time.Second}}

// warm waits until key is served from memory.
func warm(t *testing.T, c *cache.Cache[string], key, want string) {
	t.Helper()
	harness.Eventually(t, "it is served from memory", func() bool {
		before := c.Stats().NearHits
		gives(t, c, key, want)
		return c.Stats().NearHits > before
	})
}

func TestNear_ServesUntilAnyProcessChangesTheKey(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newCache(t, s, withNear), newCache(t, s, cache.Config[string]{TTL: time.Hour})
		for _, key := range []string{"}", "{}", "}:{:"} {
			must(t, b.Set(t.Context(), key, "v"))
			warm(t, a, key, "v")
			must(t, b.Delete(t.Context(), key))
			harness.Eventually(t, "the message drops it", func() bool { _, ok, err := a.Get(t.Context(), key); return err == nil && !ok })
		}
		must(t, b.Set(t.Context(), "k", "one", cache.Tags("tag")))
		for _, change := range []struct {
			do   func() error
			want string
		}{
			{func() error { return b.Set(t.Context(), "k", "two", cache.Tags("tag")) }, "two"},
			{func() error { return b.DeleteTag(t.Context(), "tag") }, ""},
			{func() error { return b.Set(t.Context(), "k", "three") }, "three"},
			{func() error { return b.Delete(t.Context(), "k") }, ""},
			{func() error { _, err := b.Fetch(t.Context(), "k", fixed("four")); return err }, "four"},
			{func() error { return b.DeleteMany(t.Context(), "k") }, ""},
		} {
			v, ok, err := b.Get(t.Context(), "k")
			must(t, err)
			if ok {
				warm(t, a, "k", v)
			}
			must(t, change.do())
			harness.Eventually(t, "the message drops it", func() bool {
				v, _, err := a.Get(t.Context(), "k")
				return err == nil && v == change.want
			})
		}
	})
}

// changes returns all ways to change "k", which has the tag "tag".
func changes(t *testing.T, c *cache.Cache[string]) map[string]func() error {
	return map[string]func() error{
		"set":         func() error { return c.Set(t.Context(), "k", "new") },
		"delete":      func() error { return c.Delete(t.Context(), "k") },
		"delete many": func() error { return c.DeleteMany(t.Context(), "k") },
		"delete tag":  func() error { return c.DeleteTag(t.Context(), "tag") },
	}
}

// A process sees its own changes at once, whenever the message arrives; here it
// never does.
func TestNear_ShowsOwnChangesAtOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := newCache(t, s, withNear)
		c.Mute()
		for name, change := range changes(t, c) {
			must(t, c.Set(t.Context(), "k", "old", cache.Tags("tag")))
			warm(t, c, "k", "old")
			must(t, change())
			if v, _, err := c.Get(t.Context(), "k"); v == "old" || err != nil {
				t.Errorf("after %s: %q, %v", name, v, err)
			}
		}
	})
}

// overtaken is a codec that makes a change once, between the answer "old" and
// its use.
type overtaken struct {
	cache.JSON[string]
	change func()
}

func (o *overtaken) Decode(data []byte, v *string) error {
	err := o.JSON.Decode(data, v)
	if change := o.change; change != nil && *v == "old" {
		o.change = nil
		change()
	}
	return err
}

func TestNear_KeepsNoAnswerOvertakenByAChange(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		codec := &overtaken{}
		cfg := withNear
		cfg.Codec = codec
		a, b := newCache(t, s, cfg), newCache(t, s, cache.Config[string]{TTL: time.Hour, Codec: cache.JSON[string]{}})
		// A process drops its own change before the call returns. It learns of
		// another process's change by a message, which has arrived once a later
		// message has. Only later messages name a key that is used once.
		own, another := changes(t, a), changes(t, b)
		laps := 0
		told := func() {
			laps++
			later := fmt.Sprint("later ", laps)
			must(t, b.Set(t.Context(), later, "v"))
			warm(t, a, later, "v")
			must(t, b.Delete(t.Context(), later))
			harness.Eventually(t, "the messages have come", func() bool { _, ok, _ := a.Get(t.Context(), later); return !ok })
		}
		for name := range own {
			for _, change := range []func(){
				func() { must(t, own[name]()) },
				func() { must(t, another[name]()); told() },
			} {
				must(t, b.Set(t.Context(), "k", "old", cache.Tags("tag")))
				told() // of this change as well
				codec.change = change
				gives(t, a, "k", "old") // the node was asked before the change
				want := ""
				if name == "set" {
					want = "new"
				}
				gives(t, a, "k", want)
			}
		}
	})
}

// Values only grow, and each change is announced. The value served from memory
// never goes back, and ends with the newest.
func TestNear_NeverGoesBackDuringChanges(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newOf(t, s, cache.Config[int]{Near: &cache.Near{TTL: 30 * time.Second}}), newOf(t, s, cache.Config[int]{})
		const keys, rounds = 4, 10
		var done atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !done.Load() {
					for k := range keys {
						a.Get(context.Background(), strconv.Itoa(k))
					}
				}
			})
		}
		for i := range rounds {
			for k := range keys {
				must(t, b.Set(t.Context(), strconv.Itoa(k), i))
			}
		}
		done.Store(true)
		wg.Wait()
		for k := range keys {
			harness.Eventually(t, fmt.Sprint("key ", k, " comes to its newest value"), func() bool {
				v, _, err := a.Get(t.Context(), strconv.Itoa(k))
				return err == nil && v == rounds-1
			})
		}
		if a.Stats().NearHits == 0 {
			t.Error("nothing was served from memory")
		}
	})
}

// If a message is lost with its connection, the old value must not stay in
// memory for its full TTL.
func TestNear_IsDroppedWhenMessagesMayBeMissed(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a, b := newCache(t, s, withNear), newCache(t, s, cache.Config[string]{TTL: time.Hour})
		for i := range 5 {
			must(t, b.Set(t.Context(), "k", "old"))
			warm(t, a, "k", "old")
			owner := ownerOf(t, s, "k")
			if i%2 == 1 {
				must(t, s.Restart(owner, false)) // every connection breaks
				harness.Eventually(t, "it can be deleted", func() bool { return b.Delete(t.Context(), "k") == nil })
			} else {
				fix := deafens(t, harness.Client(t, s, owner))
				must(t, b.Delete(t.Context(), "k"))
				fix()
			}
			harness.Eventually(t, "the old value is gone", func() bool {
				_, ok, err := a.Get(t.Context(), "k")
				return err == nil && !ok
			})
		}
	})
}

// deafens breaks every connection that receives messages from a real server
// until fix is called, so that some messages are lost.
func deafens(t *testing.T, server *redis.Client) (fix func()) {
	kill := func() error { return server.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err() }
	if kill() != nil {
		return func() {} // an embedded server
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				kill()
			}
		}
	})
	return func() { close(stop); wg.Wait() }
}

// keepsSetting sets a key until enough is called, because a process ignores
// entries that were stored shortly after it reached the node again.
func keepsSetting(c *cache.Cache[string], key, value string) (enough func()) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		until(ctx, func() bool { c.Set(context.Background(), key, value); return false })
	})
	return func() { stop(); wg.Wait() }
}

// The readers are separate processes that read continuously. In some rounds
// their connections break during the deletion. The test does not measure how
// long a message may take: the local tier knows up to when it has received all
// messages.
func TestNear_ServesNothingAnotherProcessDeleted(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cl := open(t, s)
		a := newOn(t, cl, cache.Config[string]{TTL: time.Hour})
		var fleet []*worker
		for range 3 {
			fleet = append(fleet, job{URLs: s.URLs(), Watched: "k"}.start(t))
		}
		all := func(want string) {
			for _, w := range fleet {
				w.says(t, want)
			}
		}
		tell := func(line string) {
			for _, w := range fleet {
				w.reads(t, line)
			}
		}
		all("ready")
		for round, event := range []string{"none", "silent", "restart", "silent"} {
			value := fmt.Sprint("v", round)
			harness.Eventually(t, "the node is up", func() bool { return cl.Status()[0].Up })
			enough := keepsSetting(a, "k", value)
			tell(value)
			all("in memory")
			enough()
			fix := func() {}
			switch event {
			case "silent":
				fix = deafens(t, harness.Client(t, s, 0))
			case "restart":
				must(t, s.Restart(0, false)) // every connection breaks
			}
			harness.Eventually(t, "it is deleted", func() bool { return a.Delete(t.Context(), "k") == nil })
			tell("deleted")
			fix()
			all("gone")
		}
	})
}

func TestNear_ServesNothingOfASilentNode(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		a := newOn(t, impatient(t, s), withNear)
		must(t, a.Set(t.Context(), "k", "v"))
		warm(t, a, "k", "v")
		s.Pause(0)
		defer s.Resume(0)
		harness.Eventually(t, "it is not served any more", func() bool {
			_, ok, err := a.Get(t.Context(), "k")
			return !ok && err != nil
		})
	})
}

// During the outage deletions may have been missed, but no message, because the
// node sent none.
func TestNear_ServesNothingFromBeforeAnOutage(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cl := impatient(t, s)
		a := newOn(t, cl, withNear)
		must(t, a.Set(t.Context(), "k", "old"))
		warm(t, a, "k", "old")
		s.Pause(0)
		harness.Eventually(t, "it is noticed", func() bool { a.Get(t.Context(), "other"); return !cl.Status()[0].Up })
		s.Resume(0)
		harness.Eventually(t, "memory is in use again", func() bool {
			a.Set(t.Context(), "other", "v")
			before := a.Stats().NearHits
			for range 2 {
				a.Get(t.Context(), "other")
			}
			return a.Stats().NearHits > before
		})
		gives(t, a, "k", "")
	})
}
