package quorumlock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func inspect(t testing.TB, red *Redlock, key string) Inspection {
	t.Helper()
	i, err := red.Inspect(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestInspect_NamesTheHolder(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, looker := r.redlock(nil, Config{TTL: lasting}), r.redlock(nil, Config{})
		if i := inspect(t, looker, "k"); i.State != Free || i.Holder != (Holder{}) || i.Token != 0 || len(i.Views) != 3 || i.Need != 2 {
			t.Errorf("of a free lock: %+v", i)
		}
		h := acquireEverywhere(t, red, "k", Request{Owner: "web", TokenBlock: 4})
		i := inspect(t, looker, "k")
		if i.State != Held || i.Votes != 3 || i.Holder.Name != "web" || i.Holder.Writer != WriterRedlock || i.Token != lastToken(h) || i.Waiting != 0 {
			t.Errorf("of a lock with the tokens %d to %d: %+v", h.Token(), lastToken(h), i)
		}
		if i.Left <= 0 || i.Left > h.TTL() {
			t.Errorf("left %v of %v", i.Left, h.TTL())
		}
		if text := fmt.Sprintf("%+v", i.Holder); strings.Contains(text, red.c.Process()) {
			t.Errorf("%s is enough to release it", text)
		}
		must(t, h.Release(context.Background()))
		harness.Eventually(t, "it is free", func() bool { return inspect(t, looker, "k").State == Free })
	})
}

func TestInspect_NamesTheWaiters(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, other := r.redlock(nil, Config{TTL: lasting}), r.redlock(nil, Config{})
		acquireEverywhere(t, red, "k", Request{})
		harness.Receive(t, "the mailbox stands", other.c.Listen(deafEar{}))
		began := time.Now().Add(-time.Minute) // clocks of nodes may differ a little
		if _, err := other.Acquire(context.Background(), "k", Request{Queue: true}); !errors.Is(err, ErrNotAcquired) {
			t.Fatal(err)
		}
		i := inspect(t, red, "k")
		if i.Waiting != 1 || len(i.Waiters) != 1 || !strings.HasPrefix(other.c.Process(), i.Waiters[0].Process) ||
			i.Waiters[0].Since.Before(began) || len(i.Waiters[0].Process) != shownProcess {
			t.Errorf("%+v", i)
		}
	})
}

type deafEar struct{}

func (deafEar) Message(*nodeset.Node, string) bool { return false }
func (deafEar) Unclaimed(*nodeset.Node, string)    {}
func (deafEar) Gap(*nodeset.Node)                  {}

// What is not ours is shown as such, does not make an inspection fail, and is not taken for a lock that could be let go.
func TestInspect_ShowsForeignAndForgedValuesAsSuch(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{}), context.Background()
		pools := make([]redsyncredis.Pool, len(r.Clients))
		for i, c := range r.Clients {
			pools[i] = goredis.NewPool(c)
		}
		m := redsync.New(pools...).NewMutex("lock:sync", redsync.WithExpiry(30*time.Second))
		must(t, m.Lock())
		c := r.open()
		for _, n := range c.Nodes() { // one that leaves a fence counter
			if ok, err := NewOneNode(c, n).Acquire(ctx, "lock:adapted", m.Value(), 30*time.Second); !ok || err != nil {
				must(t, fmt.Errorf("acquired %t: %w", ok, err))
			}
		}
		for _, c := range r.Clients {
			pipe := c.Pipeline()
			pipe.Set(ctx, "lock:foreign", "who knows", 0)
			pipe.Set(ctx, "lock:empty", "", time.Minute)
			pipe.HSet(ctx, "lock:hash", "a", "b")
			pipe.HSet(ctx, "{lock:spoilt}:queue", "a", "b")
			pipe.HSet(ctx, "{lock:spoilt}:fence", "a", "b")
			pipe.Set(ctx, "lock:spoilt", strings.Repeat("P", processLen)+"/1/\x1b[2Jboo", time.Minute)
			if _, err := pipe.Exec(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for key, want := range map[string]Writer{"sync": WriterRedsync, "adapted": WriterRedsync, "foreign": WriterForeign, "empty": WriterForeign,
			"hash": WriterForeign, "spoilt": WriterRedlock} {
			i := inspect(t, red, key)
			if i.State != Held || i.Holder.Writer != want || i.Token != 0 || i.Waiting != 0 {
				t.Errorf("%s: %+v", key, i)
			}
		}
		if i := inspect(t, red, "foreign"); i.Left >= 0 {
			t.Errorf("a key that never expires is left %v", i.Left)
		}
		for _, key := range []string{"hash", "empty"} {
			_, err := red.ForceRelease(ctx, inspect(t, red, key), "")
			if now := red.ForceReleaseNow(ctx, inspect(t, red, key)); !errors.Is(err, nodeset.ErrConfig) || !errors.Is(now, nodeset.ErrConfig) {
				t.Errorf("of %s: %v, %v", key, err, now)
			}
		}
	})
}

func TestList_HasTheLocksUnderAPrefix(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{TTL: lasting})
		for _, key := range []string{"a:2", "a:1", "a:{tag}:3", "a:*", "b", "a:{tag}:fences"} {
			acquireEverywhere(t, red, key, Request{})
		}
		r.Clients[1].Set(t.Context(), "lock:a:left over", "by something", time.Minute)
		got, err := red.List(context.Background(), "a:")
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, i := range got {
			keys = append(keys, fmt.Sprintf("%s %s %d", i.Key, i.State, i.Votes))
		}
		want := "a:* held 3|a:1 held 3|a:2 held 3|a:left over partial 1|a:{tag}:3 held 3|a:{tag}:fences held 3"
		if strings.Join(keys, "|") != want {
			t.Errorf("List is\n%s\nwant\n%s", strings.Join(keys, "|"), want)
		}
		if got, err := red.List(context.Background(), "nothing"); len(got) != 0 || err != nil {
			t.Error(got, err)
		}
	})
}

// A quorum of nodes is enough for a list, and each that is missing is named.
func TestInspect_NamesANodeThatDoesNotAnswer(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(r.open(impatient), Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		r.Pause(1)
		got, err := red.List(context.Background(), "")
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		i := got[0]
		if i.State != Held || i.Votes != 2 || i.Token != h.Token() || i.Views[1].Err == nil || i.Views[1].Node != red.c.Nodes()[1].Name() {
			t.Errorf("%+v", i)
		}
		r.Stop(2)
		i, err = red.Inspect(context.Background(), "k")
		missing := as[*nodeset.QuorumError](t, err)
		if i.State != Unknown || len(missing.Nodes) != 2 || i.Views[0].Holder.Writer != WriterRedlock {
			t.Errorf("%+v, %v", i, err)
		}
		if _, err = red.List(context.Background(), ""); len(as[*nodeset.QuorumError](t, err).Nodes) != 2 {
			t.Error(err)
		}
		if _, err = red.ForceRelease(context.Background(), i, ""); len(as[*nodeset.QuorumError](t, err).Nodes) != 2 {
			t.Error(err)
		}
	})
}

// Until the old TTL is over nobody has the key, then the next does, with a larger token.
func TestForceRelease_KeepsTheKeyUntilItsHolderHasEnded(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, admin, ctx := r.redlock(nil, Config{TTL: 2 * time.Second}), r.redlock(nil, Config{}), context.Background()
		h := acquireEverywhere(t, red, "k", Request{})
		seen := inspect(t, admin, "k")
		freeIn, err := admin.ForceRelease(ctx, seen, "ann")
		if err != nil || freeIn <= 0 || freeIn > h.TTL() {
			t.Fatal(freeIn, err)
		}
		if _, err := admin.ForceRelease(ctx, seen, "ann"); err != nil { // as if it were delivered again
			t.Error(err)
		}
		i := inspect(t, admin, "k")
		if i.State != Held || i.Holder.Writer != WriterForced || i.Holder.Name != "ann" || i.Token != 0 {
			t.Errorf("after it: %+v", i)
		}
		err = h.ExtendNow(ctx, 2*time.Second)
		if lost := as[*LostError](t, err); !strings.HasPrefix(lost.Reason, "released by force by ann (") {
			t.Errorf("its holder ended by %v", err)
		}
		token := h.Token()
		next := acquire(t, admin, "k", Request{})
		if time.Now().Before(h.Deadline()) {
			t.Error("somebody else had it before its holder's deadline")
		}
		if next.Token() <= token {
			t.Errorf("token %d after %d", next.Token(), token)
		}
		if _, err := red.ForceRelease(ctx, seen, ""); !errors.Is(err, ErrNotHeld) {
			t.Errorf("who was not seen lost it: %v", err)
		}
		if i := inspect(t, admin, "k"); i.State != Held || i.value != next.Value() {
			t.Errorf("%+v", i)
		}
	})
}

func TestForceReleaseNow_LetsOthersAcquireAtOnce(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, admin, ctx := r.redlock(nil, Config{TTL: lasting}), r.redlock(nil, Config{}), context.Background()
		h := acquireEverywhere(t, red, "k", Request{})
		if err := admin.ForceReleaseNow(ctx, inspect(t, admin, "k")); err != nil {
			t.Fatal(err)
		}
		next, err := admin.Acquire(ctx, "k", Request{})
		if err != nil || next.Token() <= h.Token() {
			t.Fatal(err)
		}
		if err := h.ExtendNow(ctx, time.Second); !errors.Is(err, ErrLost) {
			t.Error(err)
		}
		free := inspect(t, admin, "another")
		if _, err := admin.ForceRelease(ctx, free, ""); !errors.Is(err, ErrNotHeld) {
			t.Error(err)
		}
		if _, err := admin.ForceRelease(ctx, free, "two\nlines"); !errors.Is(err, nodeset.ErrConfig) {
			t.Error(err)
		}
	})
}

// A user with the rights of locks can inspect and force; to list it needs those of an operator.
func TestList_NeedsTheRightsOfAnOperator(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		if r.Clients[0].Do(t.Context(), "acl", "whoami").Err() != nil {
			t.Skip("the node knows no users")
		}
		user := func(rules string) *Redlock {
			args := []any{"acl", "setuser", "op", "reset", "on", "nopass"}
			for rule := range strings.FieldsSeq(rules) {
				args = append(args, rule)
			}
			if err := r.Clients[0].Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
			c, err := nodeset.Open(t.Context(), nodeset.Config{URLs: []string{strings.Replace(r.URLs()[0], "//", "//op:x@", 1)},
				NodeTimeout: 3 * time.Second, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { harness.Close(t, c) })
			return r.redlock(c, Config{TTL: lasting})
		}
		ctx, rules := context.Background(), cluster.ACL("", false)
		red := user(rules)
		acquireEverywhere(t, red, "k", Request{})
		if _, err := red.ForceRelease(ctx, inspect(t, red, "k"), ""); err != nil {
			t.Error(err)
		}
		_, err := red.List(ctx, "")
		var reply redis.Error
		if missing := as[*nodeset.QuorumError](t, err); !errors.As(missing, &reply) || !strings.Contains(err.Error(), "scan") {
			t.Errorf("without the right: %v", err)
		}
		for _, right := range cluster.OperatorRights() {
			rules += " " + right.Rule
		}
		if got, err := user(rules).List(ctx, ""); err != nil || len(got) != 1 {
			t.Error(got, err)
		}
	})
}

func FuzzReadView_NeverPanics(f *testing.F) {
	f.Add(int64(1), "v", int64(5), "7", int64(2), "p", "1e15")
	f.Add(int64(2), "", int64(-2), "x", int64(-9), "", "")
	f.Fuzz(func(t *testing.T, kind int64, value string, left int64, fence string, queued int64, process, score string) {
		v, err := readView([]any{kind, value, left, fence, queued, []any{process, score}, []any{process, left}}, nil)
		if err != nil || v.Fence < 0 || v.Waiting < 0 || v.Left < -time.Millisecond || len(v.waiters) != 1 {
			t.Errorf("%+v, %v", v, err)
		}
		i := Inspection{Need: 1, Views: []View{v}}
		i.judge()
		if (i.State == Free) != (v.Holder.Writer == NoWriter) || i.Votes > 1 {
			t.Errorf("%+v", i)
		}
		if _, err := readView([]any{kind, value}, nil); err == nil {
			t.Error("took two words for a view")
		}
	})
}
