package nodeset

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// listener notes what it gets.
type listener struct {
	mu        sync.Mutex
	claims    func(text string) bool
	messages  []note
	unclaimed []note
	gaps      []int
}

type note struct {
	node int
	text string
}

func (l *listener) Message(n *Node, text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = append(l.messages, note{n.Index(), text})
	return l.claims != nil && l.claims(text)
}

func (l *listener) Unclaimed(n *Node, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unclaimed = append(l.unclaimed, note{n.Index(), text})
}

func (l *listener) Gap(n *Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaps = append(l.gaps, n.Index())
}

func (l *listener) got() (messages, unclaimed []note, gaps []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.messages), slices.Clone(l.unclaimed), slices.Clone(l.gaps)
}

func (l *listener) has(n note) bool {
	messages, _, _ := l.got()
	return slices.Contains(messages, n)
}

// A process that asks its nodes for nothing finds all the same that a name leads to another server while the old one runs.
func TestSet_Listen_FollowsTheNameOfANode(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 2)
	var at atomic.Int32
	o, err := redis.ParseURL(s.URLs()[0])
	if err != nil {
		t.Fatal(err)
	}
	o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, hostOf(t, s.URLs()[at.Load()]))
	}
	client := redis.NewClient(o)
	defer client.Close()
	c := mustOpen(t, Config{MaxTTL: 2 * time.Second, NodeTimeout: 500 * time.Millisecond, Clients: map[string]redis.UniversalClient{"node": client}})
	harness.Eventually(t, "the subscription", func() bool { return tell(t, s, c, 0, "old") == 1 })
	at.Store(1)
	harness.Eventually(t, "the subscription on the other server", func() bool { return tell(t, s, c, 1, "new") == 1 })
	harness.Eventually(t, "the end of the old one", func() bool { return tell(t, s, c, 0, "old") == 0 })
}

func tell(t *testing.T, s harness.Set, c *Set, i int, text string) int64 {
	t.Helper()
	got, err := harness.Client(t, s, i).Publish(t.Context(), Channel(c.Process()), text).Result()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMailbox_DeliversFromTheNodeThatSent(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		c, other := open(t, s), open(t, s)
		l, stranger := &listener{claims: func(string) bool { return true }}, &listener{}
		harness.Receive(t, "the mailbox to open", c.Listen(l))
		harness.Receive(t, "the other mailbox to open", other.Listen(stranger))
		for i, n := range c.Nodes() {
			if !n.Listening() {
				t.Errorf("node %d is not listening", i)
			}
			if got := tell(t, s, c, i, "hello"); got != 1 {
				t.Errorf("%d receive on node %d, want 1", got, i)
			}
			harness.Eventually(t, "the message", func() bool { return l.has(note{i, "hello"}) })
		}
		messages, unclaimed, gaps := l.got()
		if len(messages) != 3 || len(unclaimed) != 0 || len(gaps) != 0 {
			t.Errorf("got messages %v, unclaimed %v, gaps %v", messages, unclaimed, gaps)
		}
		if messages, _, _ := stranger.got(); len(messages) != 0 {
			t.Errorf("another process got %v", messages)
		}
	})
}

func TestMailbox_AnUnclaimedMessageGoesToExactlyOneListener(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	c := open(t, s)
	claimer := &listener{claims: func(text string) bool { return text == "mine" }}
	all := []*listener{claimer, {}, {}}
	for _, l := range all {
		harness.Receive(t, "the mailbox to open", c.Listen(l))
	}
	const each = 20
	for range each {
		tell(t, s, c, 0, "mine")
		tell(t, s, c, 0, "nobody's")
	}
	tell(t, s, c, 0, "last")
	lost := func() (n int) {
		for _, l := range all {
			_, unclaimed, _ := l.got()
			for _, u := range unclaimed {
				if u.text == "mine" {
					t.Fatal("a claimed message was taken for unclaimed")
				}
			}
			n += len(unclaimed)
		}
		return n
	}
	harness.Eventually(t, "all messages", func() bool { return lost() >= each+1 })
	if got := lost(); got != each+1 {
		t.Errorf("%d messages were given as unclaimed, want %d", got, each+1)
	}
	for _, l := range all {
		if messages, _, _ := l.got(); len(messages) != 2*each+1 {
			t.Errorf("a listener got %d messages, want all %d", len(messages), 2*each+1)
		}
	}
}

func TestMailbox_ReportsAGapAfterItReconnects(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		l := &listener{}
		harness.Receive(t, "the mailbox to open", c.Listen(l))
		gapsOf := func(i int) (n int) {
			_, _, gaps := l.got()
			for _, g := range gaps {
				if g == i {
					n++
				}
			}
			return n
		}
		s.Stop(1)
		if err := s.Restart(1, false); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "a gap", func() bool { return gapsOf(1) > 0 })
		harness.Eventually(t, "messages after the gap", func() bool {
			return tell(t, s, c, 1, "again") == 1 && l.has(note{1, "again"})
		})
		if gapsOf(0) != 0 {
			t.Error("the other node has a gap")
		}
	})
}

func TestMailbox_ReportsAGapAfterItsSubscriptionIsKilled(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, realOptions())
	c := open(t, s)
	l := &listener{}
	harness.Receive(t, "the mailbox to open", c.Listen(l))
	if err := harness.Client(t, s, 0).ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "a gap", func() bool { _, _, gaps := l.got(); return len(gaps) > 0 })
	harness.Eventually(t, "messages after the gap", func() bool {
		return tell(t, s, c, 0, "again") == 1 && l.has(note{0, "again"})
	})
	if !c.Status()[0].Up {
		t.Error("the node is down")
	}
}

func TestMailbox_OpensWithoutANodeThatIsDown(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(s harness.Set, i int){
		"stopped": harness.Set.Stop,
		"paused":  harness.Set.Pause,
	} {
		t.Run(name, func(t *testing.T) {
			harness.Each(t, 3, func(t *testing.T, s harness.Set) {
				t.Parallel()
				hurt(s, 2)
				c := open(t, s, impatient)
				l := &listener{}
				harness.Receive(t, "the mailbox to open", c.Listen(l))
				if !c.Nodes()[0].Listening() || !c.Nodes()[1].Listening() || c.Nodes()[2].Listening() {
					t.Errorf("listening: %t, %t, %t", c.Nodes()[0].Listening(), c.Nodes()[1].Listening(), c.Nodes()[2].Listening())
				}
				if name == "stopped" {
					if err := s.Restart(2, false); err != nil {
						t.Fatal(err)
					}
				} else {
					s.Resume(2)
				}
				harness.Eventually(t, "the mailbox of the node that recovered", c.Nodes()[2].Listening)
				harness.Eventually(t, "its late subscription is a gap", func() bool {
					_, _, gaps := l.got()
					return slices.Contains(gaps, 2)
				})
				tell(t, s, c, 2, "late")
				harness.Eventually(t, "the message", func() bool { return l.has(note{2, "late"}) })
			})
		})
	}
}

func TestMailbox_DoesNotWaitForANodeKnownToBeDown(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	s.Stop(2)
	// The mailbox would wait for twice this time-out.
	c := open(t, s, func(cfg *Config) { cfg.MaxTTL, cfg.NodeTimeout = 3*harness.Patience, harness.Patience })
	harness.Receive(t, "the mailbox to open", c.Listen(&listener{}))
	if !c.Nodes()[0].Listening() || !c.Nodes()[1].Listening() {
		t.Error("it did not wait for the others")
	}
}

func TestSet_Listen_EndsWithClose(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s, func(cfg *Config) { cfg.NodeTimeout = 10 * time.Second; cfg.MaxTTL = time.Minute })
	s.Pause(2)
	opened := c.Listen(&listener{})
	s.Stop(2)
	shut(t, c)
	harness.Receive(t, "its channel to be closed", opened)
}

// A node that sends as fast as it can would take a processor of every client.
func TestMailbox_BoundsTheMessagesOfANode(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	c := open(t, s)
	l := &listener{}
	harness.Receive(t, "the mailbox to open", c.Listen(l))
	client := harness.Client(t, s, 0)
	const periods = 5
	start := time.Now()
	for range periods {
		_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for range mailMost {
				p.Publish(t.Context(), Channel(c.Process()), "again")
			}
			return nil
		})
		harness.Must(t, start, err)
	}
	harness.Eventually(t, "all messages", func() bool { messages, _, _ := l.got(); return len(messages) == periods*mailMost })
	if took := time.Since(start); took < (periods-1)*hearPeriod {
		t.Errorf("it heard %d messages in %v", periods*mailMost, took)
	}
}
