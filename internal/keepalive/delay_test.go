package keepalive

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestLockDelay_KeepsTheKeyAfterALossAndNotAfterARelease(t *testing.T) {
	const ttl, delay = 10 * time.Second, 20 * time.Second
	for name, lose := range map[string]func(g *gate){
		"cut off":           func(g *gate) { g.cut() },
		"held for too long": func(*gate) {},
		"cut off, and back": func(g *gate) { g.fail(); time.AfterFunc(ttl+time.Second, g.heal) },
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes, g := newMemory(t, 3), &gate{}
				s := lease(t, nodes.open(t, g), Config{TTL: ttl, LockDelay: delay})
				other := lease(t, nodes.open(t, &gate{}), Config{})
				l := acquireAtOnce(t, s, "job", Request{})
				must(t, l.Release(t.Context()))
				synctest.Wait()
				must(t, acquireAtOnce(t, other, "job", Request{}).Release(t.Context()))

				l = acquireAtOnce(t, s, "job", Request{MaxHold: time.Minute})
				time.Sleep(50 * time.Second)
				if left := time.Until(l.Deadline()); l.Err() != nil || left > ttl {
					t.Fatalf("renewed, it has ended by %v; its deadline is %v away", l.Err(), left)
				}
				lose(g)
				<-l.Done()
				time.Sleep(time.Until(l.Deadline()) + time.Second)
				var held *NotAcquiredError
				if _, err := other.TryAcquire(t.Context(), "job"); !errors.As(err, &held) || held.FreeIn < delay/2 || held.FreeIn > delay {
					t.Errorf("a second after the deadline: %v", err)
				}
				next, err := other.Acquire(t.Context(), "job")
				must(t, err)
				if late := time.Since(l.Deadline()); late < delay || late > delay+5*time.Second {
					t.Errorf("acquired %v after the deadline of a lease that was lost; the delay is %v", late, delay)
				}
				must(t, next.Release(t.Context()))
			})
		})
	}
}

// A key that MinHold keeps is not kept for longer when its process ends: it was
// released.
func TestLockDelay_DoesNotProlongMinHold(t *testing.T) {
	virtually(t, func(t *testing.T) {
		for minHold, delay := range map[time.Duration]time.Duration{45 * time.Second: 20 * time.Second, 5 * time.Second: 40 * time.Second} {
			nodes := newMemory(t, 3)
			s := lease(t, nodes.open(t, &gate{}), Config{TTL: 10 * time.Second, LockDelay: delay})
			l := acquireAtOnce(t, s, "job", Request{MinHold: minHold})
			synctest.Wait()
			must(t, l.Release(t.Context()))
			must(t, s.Close(t.Context()))
			synctest.Wait()
			for i, n := range nodes {
				if left := n.TTL("lock:job"); left < minHold-time.Second || left > minHold+time.Second {
					t.Errorf("node %d keeps the key for %v, MinHold is %v", i, left, minHold)
				}
			}
		}
	})
}

func TestLockDelay_MustFitMaxTTL(t *testing.T) {
	c := open(t, harness.Embedded(t, 1), time.Second)
	for want, cfg := range map[string]Config{
		"Config.LockDelay: -1ns is negative":                               {LockDelay: -1},
		"Config.TTL: 10s and Config.LockDelay, 51s, are 1m1s together; at": {LockDelay: 51 * time.Second},
	} {
		if _, err := New(c, cfg); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	s := lease(t, c, Config{LockDelay: 50 * time.Second})
	if _, err := s.TryAcquire(t.Context(), "job", TTL(11*time.Second)); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "TTL: 11s and Config.LockDelay, 50s") {
		t.Errorf("with a longer TTL: %v", err)
	}
}
