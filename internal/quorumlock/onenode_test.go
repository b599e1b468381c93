package quorumlock

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// A client such as redsync releases on the context that has ended, and does not
// wait for the answer to its acquisition.
func TestOneNode_Acquire_LeavesNoKeyWhenCancelled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name              string
		frozen, cut, dead bool // dead: the context of the release has ended
	}{
		{"granted", false, false, true},
		{"frozen, released on the dead context", true, false, true},
		{"frozen, released on another context", true, false, false},
		{"frozen for longer than the timeout, released on the dead context", true, true, true},
		{"frozen for longer than the timeout, released on another context", true, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onNodes(t, 1, func(t *testing.T, r *rig) {
				tweak := patient
				if tt.cut {
					tweak = impatient
				}
				c := r.open(tweak)
				warm(t, r.redlock(c, Config{}))
				o := NewOneNode(c, c.Nodes()[0])
				if tt.frozen { // a node that knows the one script alone executes the other later
					must(t, r.Clients[0].ScriptFlush(t.Context()).Err())
					must(t, r.Clients[0].ScriptLoad(t.Context(), wakeSource+releaseSource).Err())
					r.pause(0)
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				acquiring := harness.Watch(ctx)
				acquired := harness.Async(func() error { _, err := o.Acquire(acquiring, "lock:k", "mine", 50*time.Second); return err })
				switch {
				case tt.cut:
					harness.Eventually(t, "the connection is cut", func() bool { return !c.Status()[0].Up })
				case tt.frozen:
					harness.Receive(t, "the acquisition is sent", acquiring.Waiting)
				default:
					harness.Eventually(t, "the node grants it", func() bool { return r.Get(0, "lock:k") == "mine" })
				}
				cancel()
				if err := harness.Receive(t, "the end of the attempt", acquired); err == nil && tt.frozen {
					t.Error("a frozen node granted it")
				}
				ending := context.Background()
				if tt.dead {
					ending = ctx
				}
				releasing := harness.Watch(ending)
				released := harness.Async(func() error { _, err := o.Release(releasing, "lock:k", "mine"); return err })
				if tt.dead {
					harness.Receive(t, "a release does not wait on a dead context", released)
				} else {
					harness.Receive(t, "the release is sent", releasing.Waiting)
				}
				r.resume(0)
				if !tt.dead {
					harness.Receive(t, "the end of the release", released)
				}
				r.goneEverywhere(c, "lock:k")
				if n := len(r.Keys(0, "{lock:k}:fence")); n != 1 && !tt.cut {
					t.Error("the node never executed the acquisition")
				}
				o.mu.Lock()
				defer o.mu.Unlock()
				if len(o.inFlight) > 0 {
					t.Errorf("it waits for %d answers", len(o.inFlight))
				}
			})
		})
	}
}

func TestOneNode_CountsNoVoteOfANodeThatLostItsData(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		touch := nodeset.NewScript("touch", `
			if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
			if redis.call('SET', KEYS[1], ARGV[1], 'PX', 30000, 'NX') then return 1 end
			return 0`)
		c, ctx := r.open(), context.Background()
		must(t, r.Restart(0, true))
		emptied, kept := NewOneNode(c, c.Nodes()[0]), NewOneNode(c, c.Nodes()[1])
		harness.Eventually(t, "the restart is seen", func() bool {
			_, _ = emptied.Release(ctx, "lock:other", "mine")
			s := c.Status()[0]
			return s.Up && !s.Votes
		})
		for _, key := range []string{"lock:a", "lock:b"} {
			step := func(o *OneNode) (bool, error) { return o.Touch(ctx, touch, []string{key}, "mine") }
			if key == "lock:a" {
				step = func(o *OneNode) (bool, error) { return o.Acquire(ctx, key, "mine", lasting) }
			}
			if ok, err := step(emptied); ok || !errors.Is(err, errQuarantine) {
				must(t, err)
				t.Errorf("%s on the node that lost its data: %t, %v", key, ok, err)
			}
			if ok, err := step(kept); !ok || err != nil {
				must(t, err)
				t.Errorf("%s on one that kept them: %t", key, ok)
			}
			for _, o := range []*OneNode{emptied, kept} {
				if found, err := o.Release(ctx, key, "mine"); found != FoundOurs || err != nil {
					must(t, err)
					t.Errorf("%s is released where it has %d", key, found)
				}
			}
		}
		r.Put(0, "lock:c", "another's", time.Minute)
		if ok, err := emptied.Touch(ctx, touch, []string{"lock:c"}, "mine"); ok || err != nil {
			must(t, err)
			t.Error("what is another's was extended")
		}
	})
}

func TestOneNode_Release_DeletesOnlyTheGivenValue(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		c := r.open()
		o := NewOneNode(c, c.Nodes()[0])
		r.Put(0, "lock:ours", "mine", time.Minute)
		r.Put(0, "lock:other", "another's", time.Minute)
		for name, want := range map[string]Found{"lock:ours": FoundOurs, "lock:other": FoundOther, "lock:none": FoundNothing} {
			found, err := o.Release(context.Background(), name, "mine")
			must(t, err)
			if found != want {
				t.Errorf("release of %s found %d, want %d", name, found, want)
			}
		}
		if ours, other := r.Get(0, "lock:ours"), r.Get(0, "lock:other"); ours != "" || other != "another's" {
			t.Errorf("what is left: %q and %q", ours, other)
		}
	})
}

// A reply that the script never gives has released nothing.
func TestOneNode_Release_IsSentAgainAfterAReplyThatIsNone(t *testing.T) {
	t.Parallel()
	r := newRig(t, harness.Embedded(t, 1))
	c := r.open()
	n := c.Nodes()[0]
	for name, reply := range map[string]any{"a": nil, "b": "OK", "c": []any{int64(1)}} {
		r.Put(0, name, "mine", time.Hour)
		unclaiming{make(oneAnswer, 1), claim{name, "mine"}, NewOneNode(c, n)}.Receive(n, reply, nil)
		harness.Eventually(t, "the key to be released", func() bool { return len(r.Having(name)) == 0 })
	}
}
