package quorumlock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// A key that g of n nodes granted has one holder while fewer than g + q - n of them lose it unseen, and no longer: a second
// holder needs q nodes, and only n - g did not grant it to the first.
func TestTolerance_OneHolderWhileFewerThanGPlusQMinusNNodesLoseTheKeyUnseen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ n, q, g, tolerated int }{
		{3, 2, 2, 0}, {3, 2, 3, 1}, // a key on a bare majority tolerates none
		{4, 3, 3, 1}, {4, 3, 4, 2}, // an even set tolerates one more
		{5, 3, 3, 0}, {5, 3, 4, 1}, {5, 3, 5, 2},
		{5, 4, 4, 2}, {5, 4, 5, 3}, // 4 of 5 survives any two
		{3, 3, 3, 2},
	} {
		t.Run(fmt.Sprintf("n=%d q=%d g=%d", tt.n, tt.q, tt.g), func(t *testing.T) {
			t.Parallel()
			for lost := range tt.tolerated + 2 {
				second := holdersAfterLoss(t, tt.n, tt.q, tt.g, lost)
				if want := lost > tt.tolerated; second != want {
					t.Errorf("after %d nodes lost the key unseen a second process has it: %t, want %t", lost, second, want)
				}
			}
		})
	}
}

// holdersAfterLoss has a process acquire a key on g of n nodes, and some of these lose it. It reports whether a second
// process acquires it then.
func holdersAfterLoss(t *testing.T, n, quorum, g, lost int) (second bool) {
	t.Helper()
	r := newRig(t, harness.Embedded(t, n))
	deciding := func(cfg *nodeset.Config) { cfg.Quorum = quorum }
	first, other := r.redlock(r.open(deciding), Config{}), r.redlock(r.open(deciding), Config{})
	for i := g; i < n; i++ {
		r.Put(i, "lock:k", "another's", time.Minute)
	}
	h, err := first.Acquire(context.Background(), "k", Request{TTL: 30 * time.Second})
	must(t, err)
	harness.Eventually(t, "every node has answered", h.landed)
	for i := range n {
		if i < lost || i >= g {
			if err := r.Clients[i].Del(t.Context(), "lock:k").Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err = other.Acquire(context.Background(), "k", Request{})
	if err != nil && !errors.Is(err, ErrNotAcquired) {
		must(t, err)
	}
	return err == nil
}

// The price of a larger quorum: n - q nodes may be down.
func TestTolerance_ALargerQuorumNeedsMoreNodes(t *testing.T) {
	t.Parallel()
	r := newRig(t, harness.Embedded(t, 5))
	red := r.redlock(r.open(impatient, func(cfg *nodeset.Config) { cfg.Quorum = 4 }), Config{})
	for down := range 2 {
		h := acquire(t, red, "k", Request{})
		must(t, h.Release(context.Background()))
		r.Stop(down)
	}
	harness.Eventually(t, "no quorum", func() bool {
		h, err := red.Acquire(context.Background(), "k", Request{})
		if err == nil {
			_ = h.Release(context.Background())
		}
		var missing *nodeset.QuorumError
		return errors.As(err, &missing) && missing.Need == 4
	})
}

// What a key that is not used any more leaves on a node: its counter, for FenceRetention and an eighth. docs/oncall.md says how large it is.
func TestRelease_LeavesTheFenceCounterOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, harness.Real(t, 1, redisserver.Options{}))
	red := r.redlock(nil, Config{})
	h := acquireEverywhere(t, red, "order:42", Request{})
	must(t, h.Release(context.Background()))
	harness.Eventually(t, "the key is free", func() bool { return len(r.Having("lock:order:42")) == 0 })
	const counter = "{lock:order:42}:fence"
	if got := harness.Keys(t, r, 0); !slices.Equal(got, []string{counter}) {
		t.Errorf("it leaves %v", got)
	}
	if left := r.Clients[0].TTL(t.Context(), counter).Val(); left <= 24*time.Hour || left > 27*time.Hour {
		t.Errorf("it is kept for %v", left)
	}
	value, used := r.Get(0, counter), func() (bytes int64) {
		_, line, _ := strings.Cut(r.Clients[0].Info(t.Context(), "memory").Val(), "used_memory:")
		bytes, _ = strconv.ParseInt(line[:strings.IndexByte(line, '\r')], 10, 64)
		return bytes
	}
	const keys = 20_000
	before := used()
	_, err := r.Clients[0].Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range keys {
			p.Set(t.Context(), fmt.Sprintf("{lock:order:%d}:fence", i), value, 24*time.Hour)
		}
		return nil
	})
	if each := (used() - before) / keys; err != nil || each < 60 || each > 200 { // Valkey 9.1 needs 93
		t.Errorf("a counter takes %d bytes, %v; docs/oncall.md says about 150", each, err)
	} else {
		t.Logf("a counter takes %d bytes", each)
	}
}
