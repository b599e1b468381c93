package main

import (
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// Listing and inspecting say how each key is held, and what nodes cannot know.
func TestOperatorCommands_ShowTheModeOfALock(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	locker := newLocker(t, s.URLs())
	began := time.Now()
	keeper, err := lock.New(open(t, s.URLs()), lock.Config{Retain: 20 * time.Second})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, keeper)
	for key, opts := range map[string][]lock.Option{"exclusive": nil, "shared": {lock.Shared()}, "limit": {lock.Limit(2)}, "detached": nil} {
		l, err := locker.Lock(t.Context(), key, opts...)
		harness.Must(t, began, err)
		if key == "detached" {
			_, err := l.Detach(t.Context())
			harness.Must(t, began, err)
		}
	}
	_, err = keeper.Lock(t.Context(), "retainable")
	harness.Must(t, began, err)
	operate(t, s.URLs(), 0, "ls").prints(`^KEY +MODE +HOLDER`, `exclusive +exclusive +the test `, `shared +shared +1 reader `, `limit +limit +1 of 2 slots taken`, `detached +detached +detached by`,
		`retainable +exclusive +\S+:\d`)
	modes := map[string]string{}
	for _, d := range decode[listing](t, operate(t, s.URLs(), 0, "ls", "-o", "json")).Locks {
		modes[d.Key] = d.Mode
		if mayRetain := d.Key == "retainable"; d.AgeMs == nil || d.Holder.Retains != mayRetain {
			t.Errorf("%s: age %v, may be retained: %t", d.Key, d.AgeMs, d.Holder.Retains)
		}
	}
	for key, want := range map[string]string{"exclusive": "exclusive", "shared": "shared", "limit": "limit", "detached": "detached", "retainable": "exclusive"} {
		if modes[key] != want {
			t.Errorf("%s is listed as %q", key, modes[key])
		}
	}
	operate(t, s.URLs(), 0, "inspect", "exclusive").prints(`mode +exclusive\n`, "by the holder's clock")
	operate(t, s.URLs(), 0, "inspect", "retainable").prints(`mode +exclusive; its process may retain it`)
	operate(t, s.URLs(), 0, "inspect", "shared").prints(`mode +shared\n`, "by the oldest holder's clock")
	operate(t, s.URLs(), 0, "inspect", "detached").prints(`mode +detached\n`, "was detached by its holder")
	if d := decode[lockDoc](t, operate(t, s.URLs(), exitNobody, "inspect", "free", "-o", "json")); d.Mode != "" {
		t.Errorf("a free lock has the mode %q", d.Mode)
	}
}
