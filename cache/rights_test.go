package cache_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// restricted opens a Cluster of one server as a user with the given rules.
func restricted(t *testing.T, rules []string) (harness.Set, *cluster.Cluster, error) {
	t.Helper()
	s := harness.Real(t, 1, redisserver.Options{Args: append([]string{"--user", "cache", "reset", "on", ">secret"}, rules...)})
	u, err := url.Parse(s.URLs()[0])
	must(t, err)
	u.User = url.UserPassword("cache", "secret")
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: []string{u.String()}, NodeTimeout: 3 * time.Second, Logger: quiet})
	if err == nil {
		t.Cleanup(func() { closes(t, c.Close) })
	}
	return s, c, err
}

// workout calls everything that needs a right, for at most patience, and
// returns the first error.
func workout(t *testing.T, s harness.Set, cl *cluster.Cluster, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, harness.Client(t, s, 0).ScriptFlush(t.Context()).Err())
	a, b := newOn(t, cl, cache.Config[string]{Near: &cache.Near{}}), newOn(t, cl, cache.Config[string]{})
	for _, step := range []func() error{
		func() error { return a.Set(ctx, "k", "v") },
		func() error {
			_, ok, err := a.Get(ctx, "k")
			if err == nil && !ok {
				err = errors.New("what was set is not there")
			}
			return err
		},
		func() error { _, err := b.GetMany(ctx, "k"); return err }, // has no local tier that could answer
		func() error {
			g := newGate()
			first := fetching(ctx, a, "loaded", g.load, cache.Tags("tag"))
			select {
			case <-g.began:
			case <-ctx.Done():
				return errors.New("nothing was loaded")
			}
			if a.Stats().Unleased > 0 {
				g.give <- "v"
				return (<-first).err
			}
			second := fetching(ctx, b, "loaded", fixed("its own"))
			until(ctx, func() bool { return b.Stats().Waits+b.Stats().Loads > 0 })
			g.give <- "v"
			one, two := <-first, <-second
			return errors.Join(one.err, two.err)
		},
		func() error {
			if a.Stats().Refused+a.Stats().Unleased+b.Stats().Loads > 0 {
				return errors.New("the lease did not work")
			}
			return nil
		},
		func() error {
			before := a.Stats().NearHits
			until(ctx, func() bool { a.Get(ctx, "loaded"); return a.Stats().NearHits > before })
			return ctx.Err()
		},
		func() error {
			_, err := a.Fetch(ctx, "fails", func(context.Context) (string, error) { return "", cache.ErrNotFound })
			if errors.Is(err, cache.ErrNotFound) {
				err = nil
			}
			return err
		},
		func() error { return a.Set(ctx, "tagged", "v", cache.Tags("tag")) },
		func() error { return a.DeleteTag(ctx, "tag") },
		func() error { return a.Delete(ctx, "k") },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// until polls cond until it holds or ctx ends.
func until(ctx context.Context, cond func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && !cond() {
		<-tick.C
	}
}

func TestRights_EachIsNeededAndTheyAreEnough(t *testing.T) {
	t.Parallel()
	for _, required := range []bool{true, false} {
		s, c, err := restricted(t, strings.Fields(cache.ACL("", required)))
		must(t, err)
		if err := workout(t, s, c, 20*time.Second); err != nil {
			t.Errorf("with all rights (required only: %v): %v", required, err)
		}
	}
	rules := strings.Fields(cache.ACL("", true))
	var wg sync.WaitGroup
	for i, rule := range rules {
		if rule == "+cluster|slots" {
			continue
		}
		wg.Go(func() { // all at once: they spend most of their time waiting
			t.Run("without "+rule, func(t *testing.T) {
				s, c, err := restricted(t, slices.Delete(slices.Clone(rules), i, i+1))
				if err == nil {
					err = workout(t, s, c, 3*time.Second)
				}
				if err == nil {
					t.Error("everything works")
				}
			})
		})
	}
	wg.Wait()
}
