package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestLeases_OfNilOnlyRefuse(t *testing.T) {
	var none *lease.Leases
	harness.OfNil(t, none, cluster.ErrConfig)
}

// The options of packages lock and lease fit the calls of both.
func TestOptions_AreOneType(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: nodes.URLs(), NodeTimeout: 5 * time.Second})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	cfg := lease.Config{TTL: 30 * time.Second}
	leases, err := lease.New(c, cfg)
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, leases)
	locker, err := lock.New(c, lock.Config(cfg))
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, locker)

	l, err := locker.Lock(t.Context(), "job", lease.TTL(20*time.Second), lease.Owner("nightly"))
	harness.Must(t, began, err)
	if again, ok := lease.FromContext(l.Context()); !ok || again != l {
		t.Errorf("the lease under its own context is %p, want %p", again, l)
	}
	if left := time.Until(l.Deadline()); left > 20*time.Second {
		t.Errorf("the TTL of 20s ends in %v", left)
	}

	for name, acquire := range map[string]func(opt lease.Option) error{
		"Acquire": func(opt lease.Option) error {
			_, err := leases.Acquire(t.Context(), "job", opt)
			return err
		},
		"Lock": func(opt lease.Option) error {
			_, err := locker.Lock(t.Context(), "job", opt)
			return err
		},
	} {
		var held *lease.NotAcquiredError
		err := acquire(lock.Wait(50 * time.Millisecond))
		if !errors.As(err, &held) || !strings.HasPrefix(held.Reason, "not acquired within 50ms, held ") || held.Class != "timeout" ||
			held.Holder != "nightly" || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s with a Wait that is over: %v", name, err)
		}
		if err := acquire(lock.NoWait()); !errors.As(err, &held) || held.Class != "held" || held.Err != nil {
			t.Errorf("%s with NoWait: %v", name, err)
		}
		if err := acquire(lock.Wait(-1)); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "Wait: -1ns is negative") {
			t.Errorf("%s with a negative Wait: %v", name, err)
		}
	}
	if _, err := leases.TryAcquire(t.Context(), "job", lock.Wait(time.Second)); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "TryAcquire") {
		t.Errorf("TryAcquire with a Wait: %v", err)
	}
	if _, err := leases.TryAcquire(t.Context(), "job", lock.NoWait()); !errors.Is(err, lease.ErrNotAcquired) {
		t.Errorf("TryAcquire with NoWait: %v", err)
	}
	ran, err := leases.RunOnce(t.Context(), "report", func(ctx context.Context) error {
		return ctx.Err()
	}, lock.Wait(time.Minute))
	if !ran || err != nil {
		t.Errorf("RunOnce with a Wait: %t, %v", ran, err)
	}
}
