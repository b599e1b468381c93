package nodeset

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestNode_Ask_WaitsOnTheCallersGoroutine(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		n := open(t, s).Nodes()[0]
		cmd := redis.NewCmd(t.Context(), "set", "key", "value")
		if err := n.Ask(t.Context(), cmd); err != nil || cmd.Val() != "OK" {
			t.Fatalf("SET: %v, %v", cmd.Val(), err)
		}
		if err := harness.Client(t, s, 0).ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		v, err := n.AskScript(t.Context(), NewScript("test ask", "return redis.call('GET', KEYS[1])"), []string{"key"}, nil)
		if err != nil || v != "value" {
			t.Fatalf("a script that the node had lost: %v, %v", v, err)
		}
		got := make(chan any, 1)
		n.Command(redis.NewCmd(t.Context(), "get", "key"), receive(func(_ *Node, reply any, err error) { got <- reply }))
		if v := harness.Receive(t, "the answer", got); v != "value" {
			t.Errorf("GET on the stream: %v", v)
		}
	})
}

type receive func(*Node, any, error)

func (f receive) Receive(n *Node, reply any, err error) { f(n, reply, err) }

func TestNode_Ask_TripsForASilentNodeNotForAHurriedCaller(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		n := open(t, s, impatient).Nodes()[0]
		s.Pause(0)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := n.Ask(ctx, redis.NewCmd(ctx, "get", "key")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the hurried caller got %v", err)
		}
		if !n.Up() {
			t.Error("a caller's deadline counts as the node's failure")
		}
		n.Ask(t.Context(), redis.NewCmd(t.Context(), "get", "key"))
		harness.Eventually(t, "the node to be down", func() bool { return !n.Up() }) // at once, or when a PING is not answered either
		if err := n.Ask(t.Context(), redis.NewCmd(t.Context(), "get", "key")); !errors.Is(err, ErrNodeDown) || !Unsent(err) {
			t.Errorf("asked while down: %v", err)
		}
		s.Resume(0)
		harness.Eventually(t, "the node to recover", n.Up)
		if n.Incarnation().Back.IsZero() {
			t.Error("nothing is known of its having been down")
		}
	})
}

// dueContext is a context whose deadline has passed although it has not ended.
type dueContext struct{ context.Context }

func (dueContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Microsecond), true }

func TestTookTooLong_SaysWhyAlsoWhereTheContextEndsLate(t *testing.T) {
	t.Parallel()
	late, why := errors.New("i/o timeout"), errors.New("the order was withdrawn")
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{0, time.Millisecond, endsSoon / 2} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), after, why)
			err := tookTooLong(dueContext{ctx}, late)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, why) || !errors.Is(err, late) {
				t.Errorf("a context that ends %v after its deadline: %v", after, err)
			}
			cancel()
		}
		err := tookTooLong(dueContext{t.Context()}, late)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, late) {
			t.Errorf("a context that does not end: %v", err)
		}
	})
}

func TestRestart_BeginsANewIncarnation(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		n := open(t, s).Nodes()[0]
		before := n.Incarnation()
		if before.RunID == "" || !before.Back.IsZero() {
			t.Fatalf("the life of a node that was just met: %+v", before)
		}
		if err := s.Restart(0, false); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "an answer", func() bool { return n.Ask(t.Context(), redis.NewCmd(t.Context(), "ping")) == nil })
		if after := n.Incarnation(); after.RunID == before.RunID {
			t.Errorf("an answer after the restart was handed out in the life %+v", after)
		}
	})
}

// ear records the messages and gaps that a Subscriber gets.
type ear struct {
	mu    sync.Mutex
	texts []string
	gaps  int
	upTo  time.Time
}

func (e *ear) Message(_ *Node, channel, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.texts = append(e.texts, channel+" "+text)
}

func (e *ear) Gap(*Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gaps++
}

func (e *ear) Heard(_ *Node, upTo time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.upTo = upTo
}

func (e *ear) heardSince(t time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.upTo.After(t)
}

func TestSet_Subscribe_DeliversMessagesAndGaps(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := open(t, s, impatient)
		e := &ear{}
		defer c.Subscribe(t.Context(), e, "one", "two")()
		publish := func(text string) {
			for _, channel := range []string{"one", "two"} {
				if err := harness.Client(t, s, 0).Publish(t.Context(), channel, text).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		harness.Eventually(t, "the subscription", func() bool { return e.heardSince(time.Time{}) })
		publish("first")
		published := time.Now()
		harness.Eventually(t, "what was published", func() bool { return e.heardSince(published) })
		if len(e.texts) != 2 || e.texts[0] != "one first" || e.texts[1] != "two first" {
			t.Errorf("messages: %q", e.texts)
		}
		gaps := e.gaps
		s.Pause(0)
		harness.Eventually(t, "the silence to be a gap", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return e.gaps > gaps })
		resumed := time.Now()
		s.Resume(0)
		harness.Eventually(t, "the subscription to recover", func() bool { return e.heardSince(resumed) })
	})
}
