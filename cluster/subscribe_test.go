package cluster

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
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

func TestASubscriptionThatCanNotBeMadeAgainIsDialledWithPauses(t *testing.T) {
	t.Parallel()
	way := &breakable{}
	c := through(t, harness.Embedded(t, 1), way.dial)
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

// garbler replaces what its node sends by a text, once there is one.
type garbler struct{ text atomic.Pointer[string] }

func (g *garbler) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return garbled{conn, g}, err
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
func through(t *testing.T, s harness.Set, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *Cluster {
	t.Helper()
	o, err := redis.ParseURL(s.URLs()[0])
	if err != nil {
		t.Fatal(err)
	}
	o.Dialer = dial
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return mustOpen(t, Config{Clients: map[string]redis.UniversalClient{"node": client}})
}

// go-redis panics for each of these.
func TestASubscriptionSurvivesWhatNoNodeSends(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "*0\r\n", "number": "*1\r\n:5\r\n", "alone": "*1\r\n$7\r\nmessage\r\n", "count": "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n$1\r\n1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Embedded(t, 1)
			var way garbler
			c := through(t, s, way.dial)
			gaps, bells := make(gapped, 1000), make(gapped, 1000)
			defer c.Subscribe(t.Context(), gaps, "news")()
			c.Watch(t.Context(), "news", func() { bells <- struct{}{} })
			harness.Receive(t, "the subscription", gaps)
			harness.Receive(t, "the first bell", bells)
			way.text.Store(&text)
			if err := harness.Client(t, s, 0).Publish(t.Context(), "news", "garbled").Err(); err != nil {
				t.Fatal(err)
			}
			harness.Receive(t, "the gap", gaps)
			harness.Receive(t, "the bell of the gap", bells)
			way.text.Store(nil)
			harness.Receive(t, "the subscription again", gaps)
			harness.Receive(t, "the bell of the subscription", bells)
		})
	}
}
