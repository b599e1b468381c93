package cluster

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// breakable dials a node until it is broken. Then every connection is, and a dial takes too long in no time.
type breakable struct {
	addr string

	mu     sync.Mutex
	broken bool
	dials  int // since then
	conns  []net.Conn
}

func (b *breakable) dial(context.Context, string, string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		b.dials++
		return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	}
	conn, err := net.Dial("tcp", b.addr)
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
	o, err := redis.ParseURL(harness.Embedded(t, 1).URLs()[0])
	if err != nil {
		t.Fatal(err)
	}
	way := &breakable{addr: o.Addr}
	o.Dialer = way.dial
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	c := mustOpen(t, Config{Clients: map[string]redis.UniversalClient{"node": client}})
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
