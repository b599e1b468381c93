package nodeset

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// breakable dials a node until it is broken. Then every connection is, and a dial takes too long in no time.
type breakable struct {
	mu     sync.Mutex
	broken bool
	dials  int // since then
	conns  []net.Conn
}

func (b *breakable) dial(_ context.Context, network, addr string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		b.dials++
		return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	}
	conn, err := net.Dial(network, addr)
	if err == nil {
		b.conns = append(b.conns, conn)
	}
	return conn, err
}

func (b *breakable) sever() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = true
	for _, conn := range b.conns {
		conn.Close()
	}
}

// gapped gets a value for each Gap.
type gapped chan struct{}

func (gapped) Message(*Node, string, string) {}
func (gapped) Heard(*Node, time.Time)        {}
func (g gapped) Gap(*Node)                   { g <- struct{}{} }

func TestSubscription_IsRedialledWithPauses(t *testing.T) {
	t.Parallel()
	way := &breakable{}
	c := through(t, harness.Embedded(t, 1), way.dial, 0)
	gaps := make(gapped, 100)
	defer c.Subscribe(t.Context(), gaps, "news")()
	harness.Receive(t, "the subscription", gaps)
	way.sever()
	harness.Receive(t, "the gap", gaps)
	way.mu.Lock()
	defer way.mu.Unlock()
	if way.dials > 50 {
		t.Errorf("it was dialled %d times before the gap was reported", way.dials)
	}
}

// A node that accepts every subscription and drops it is dialled ever less often.
func TestSubscription_ThatIsDroppedRepeatedlyIsMadeWithPauses(t *testing.T) {
	emptyPools()
	defer emptyPools()
	synctest.Test(t, func(t *testing.T) {
		node := newPiped(t)
		c := node.open(t)
		defer shut(t, c)
		<-c.Listen(&listener{})
		before := node.dials()
		const dropped, times = 10 * time.Millisecond, 6000
		for range times {
			node.drop()
			time.Sleep(dropped)
		}
		most := 1 + mostPauses(times*dropped)
		if dials := node.dials() - before; dials > most || dials < int(times*dropped/(2*time.Second)) {
			t.Errorf("%d dials within %v; there are at most %d pauses", dials, times*dropped, most)
		}
	})
}

// steadied counts gaps, and notes how long the node was not heard of at most.
type steadied struct {
	gaps  int
	heard time.Time
	most  time.Duration
}

func (*steadied) Message(*Node, string, string) {}
func (s *steadied) Gap(*Node)                   { s.gaps++ }
func (s *steadied) Heard(*Node, time.Time) {
	if now := time.Now(); !s.heard.IsZero() {
		s.most = max(s.most, now.Sub(s.heard))
	}
	s.heard = time.Now()
}

// A message says nothing about when the node was asked last, and puts off no question.
func TestSubscription_StandsWheneverAMessageComes(t *testing.T) {
	for after := time.Duration(0); after < mailEvery; after += 45 * time.Millisecond {
		emptyPools()
		synctest.Test(t, func(t *testing.T) {
			node := newPiped(t)
			c := node.open(t)
			defer shut(t, c)
			<-c.Listen(&listener{})
			ctx, cancel := context.WithCancel(t.Context())
			var s steadied
			wait := c.subscribe(ctx, &s, hearing{every: mailEvery, most: mailMost}, []string{"news"})
			time.Sleep(after)
			for range 10 {
				node.Publish("news", "something")
				time.Sleep(2 * mailEvery)
			}
			cancel()
			wait()
			if gaps := s.gaps - 2; gaps > 0 { // its beginning and its end
				t.Errorf("%d gaps with messages %v after the first question", gaps, after)
			}
			if s.most > mailEvery+10*time.Millisecond {
				t.Errorf("with messages %v after the first question, nothing was heard for %v", after, s.most)
			}
		})
		emptyPools()
	}
}

// A process that was stopped for a while finds that long ago it asked the node last.
func TestSubscription_IsNotLateWithoutAQuestion(t *testing.T) {
	t.Parallel()
	nothing := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	long := time.Now().Add(-time.Hour)
	r := relayed{n: &Node{c: &Set{}}, h: hearing{every: mailEvery}, since: long, asked: long}
	if !r.patient(nothing) {
		t.Error("a node that was asked nothing is late")
	}
	r.open = true
	if r.patient(nothing) {
		t.Error("a node that has not answered for an hour is not late")
	}
}

func TestSubscription_IsMadeAgainAfterARefusal(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	var way garbler
	c := through(t, s, way.dial, 0)
	harness.Receive(t, "the mailbox to open", c.Listen(&listener{}))
	n := c.Nodes()[0]
	text := "-ERR no\r\n"
	way.text.Store(&text)
	way.drop()
	harness.Eventually(t, "it to be known that the mailbox is closed", func() bool { return !n.subscribed.Load() })
	way.text.Store(nil)
	harness.Eventually(t, "the mailbox to open again", n.Listening)
}

// A node may send anything as fast as it can.
func TestSubscription_BoundsEveryKindOfEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, began := calmer{most: 10}, time.Now()
		for range 95 {
			if !c.event(t.Context()) {
				t.Error("the context ended")
			}
		}
		if took := time.Since(began); took != 9*hearPeriod {
			t.Errorf("95 events took %v", took)
		}
		time.Sleep(hearPeriod)
		began = time.Now()
		for range 9 {
			c.event(t.Context())
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("9 events took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if c.event(ctx) {
			t.Error("it goes on after the context has ended")
		}
	})
}

// garbler replaces what its node sends by a text, once there is one.
type garbler struct {
	text atomic.Pointer[string]

	mu    sync.Mutex
	conns []net.Conn
}

func (g *garbler) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, conn)
	return garbled{conn, g}, nil
}

// drop breaks every connection that there is.
func (g *garbler) drop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, conn := range g.conns {
		conn.Close()
	}
	g.conns = nil
}

type garbled struct {
	net.Conn
	by *garbler
}

func (c garbled) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if text := c.by.text.Load(); text != nil && err == nil {
		n = copy(b, *text)
	}
	return n, err
}

// through opens a cluster of one node that is dialled by dial.
func through(t *testing.T, s harness.Set, dial dialer, patience time.Duration) *Set {
	t.Helper()
	o, err := redis.ParseURL(s.URLs()[0])
	if err != nil {
		t.Fatal(err)
	}
	o.Dialer = dial
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return mustOpen(t, Config{NodeTimeout: patience, MaxTTL: max(time.Minute, 3*patience), Clients: map[string]redis.UniversalClient{"node": client}})
}

// go-redis panics for most of these.
func TestSubscription_SurvivesMalformedReplies(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"again": "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n", "no longer": "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n",
		"empty": "*0\r\n", "number": "*1\r\n:5\r\n", "alone": "*1\r\n$7\r\nmessage\r\n", "count": "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n$1\r\n1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Embedded(t, 1)
			var way garbler
			c := through(t, s, way.dial, 2*harness.Patience) // silence is no gap here
			gaps, notified := make(gapped, 1000), make(gapped, 1000)
			defer c.Subscribe(t.Context(), gaps, "news")()
			c.Watch(t.Context(), "news", func() { notified <- struct{}{} })
			harness.Receive(t, "the subscription", gaps)
			harness.Receive(t, "the first notification", notified)
			way.text.Store(&text)
			if err := harness.Client(t, s, 0).Publish(t.Context(), "news", "garbled").Err(); err != nil {
				t.Fatal(err)
			}
			harness.Receive(t, "the gap", gaps)
			harness.Receive(t, "the notification of the gap", notified)
			way.text.Store(nil)
			harness.Receive(t, "the subscription again", gaps)
			harness.Receive(t, "the notification of the subscription", notified)
		})
	}
}
