package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// link is the way between one client and one node. Whoever changes it holds its mutex.
type link struct {
	w     *world
	index int // of the node's name

	mu    sync.Mutex
	n     *node // to which new connections lead
	seed  uint64
	dials uint64
	cut   [2]bool // by direction: nothing arrives
	held  [2][]func()
	gaps  int // while there are any, no connection is made
}

const (
	there = 0 // from the client to the node
	back  = 1
)

// conn is a connection as its client sees it. What is written is a packet for the node; each direction keeps its order.
type conn struct {
	l *link
	n *node

	mu       sync.Mutex
	instant  bool          // nothing takes time: until the subscription is made
	ticks    time.Duration // added to deadlines: what was begun at one instant does not end at one
	rng      *rand.Rand
	last     [2]time.Time // when the newest packet of a direction arrives
	deaf     [2]bool      // a packet of this direction was lost: nothing after it arrives
	in       []byte       // arrived at the client
	end      error        // what Read returns when in is empty
	closed   time.Time    // when the client closed it; zero: it did not
	deadline time.Time
	bell     chan struct{}

	inbox []byte // arrived at the node, guarded by its mu
	subs  map[string]bool
	name  string     // that the client gave it
	multi bool       // between MULTI and EXEC
	queue [][]string // the commands of the transaction
}

// nodeName is what all call the node with this index.
func nodeName(i int) string { return fmt.Sprintf("10.0.0.%d:6379", i) }

// client is a client of the node to which the link leads.
func (l *link) client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", Dialer: l.dial, Protocol: 2, DisableIdentity: true,
		ReadBufferSize: 2048, WriteBufferSize: 2048, PipelineReadBufferSize: 2048, PipelineWriteBufferSize: 2048,
	})
}

// dial connects, with the delay of a round trip. A subscription's connection, the one for which a dial may take longer than
// NodeTimeout, is made and greeted at once or not at all: go-redis holds a mutex meanwhile, and who waits for a mutex stops virtual time.
func (l *link) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	until, bounded := ctx.Deadline()
	subscription := !bounded || time.Until(until) > nodeTimeout
	l.mu.Lock()
	l.dials++
	c := &conn{l: l, n: l.n, rng: rand.New(rand.NewPCG(l.seed, l.dials)), bell: make(chan struct{}, 1), subs: map[string]bool{}}
	c.ticks = time.Duration(c.rng.Int64N(100_000))
	mute, refused := l.cut[there] || l.cut[back], l.gaps > 0
	l.mu.Unlock()
	switch {
	case refused:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case subscription && (mute || !c.n.isUp()):
		return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	case subscription:
		c.instant = true
	default:
		trip, patience := 2*c.delay(), time.Until(until)-time.Millisecond+c.ticks
		if mute || trip > patience {
			time.Sleep(patience)
			return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		}
		time.Sleep(trip)
	}
	if !c.n.accept(c) {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	return c, nil
}

// delay is a packet's time on the way, to the nanosecond: two events at one instant would be in no order.
func (c *conn) delay() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.delayLocked()
}

func (c *conn) delayLocked() time.Duration {
	d := c.l.w.plan.latency/2 + time.Duration(c.rng.Int64N(int64(c.l.w.plan.latency)))
	switch p := c.rng.Float64(); {
	case p < c.l.w.rate(0.002):
		d += time.Duration(c.rng.Int64N(int64(5 * nodeTimeout)))
		c.l.w.count("late")
	case p < c.l.w.rate(0.02):
		d += time.Duration(c.rng.Int64N(int64(nodeTimeout)))
		c.l.w.count("slow")
	}
	return d
}

// send puts a packet on its way.
func (c *conn) send(way int, arrive func()) {
	c.mu.Lock()
	if c.instant {
		c.mu.Unlock()
		arrive()
		return
	}
	if c.deaf[way] {
		c.mu.Unlock()
		return
	}
	if c.rng.Float64() < c.l.w.rate(0.0005) {
		c.deaf[way] = true
		c.mu.Unlock()
		c.l.w.count("loss")
		return
	}
	at := time.Now().Add(c.delayLocked())
	if !at.After(c.last[way]) {
		at = c.last[way].Add(time.Duration(1 + c.rng.Int64N(1000)))
	}
	c.last[way] = at
	c.mu.Unlock()
	c.l.w.agenda.at(at, func() { c.l.arrive(way, arrive) })
}

// arrive delivers what has come to the end of its way, or holds it as long as the link is cut.
func (l *link) arrive(way int, deliver func()) {
	l.mu.Lock()
	if l.cut[way] {
		l.held[way] = append(l.held[way], deliver)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	deliver()
}

func (l *link) sever(way int, on bool) {
	l.mu.Lock()
	l.cut[way] = on
	var late []func()
	if !on {
		late, l.held[way] = l.held[way], nil
	}
	l.mu.Unlock()
	for _, deliver := range late {
		deliver()
	}
}

// disconnect breaks the connections of the link and has it make none, or ends that.
func (l *link) disconnect(on bool) {
	l.mu.Lock()
	if on {
		l.gaps++
	} else {
		l.gaps--
	}
	l.mu.Unlock()
	if on {
		for _, n := range l.w.all {
			n.drop(l)
		}
	}
}

// move has new connections lead to another node. Those that were made before stay.
func (l *link) move(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n = n
}

func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	end := c.end
	c.mu.Unlock()
	if end != nil {
		return 0, &net.OpError{Op: "write", Err: syscall.EPIPE}
	}
	data := append([]byte(nil), b...)
	c.send(there, func() { c.n.receive(c, data) })
	return len(b), nil
}

// reply sends what the node answers.
func (c *conn) reply(data []byte) {
	c.send(back, func() {
		c.mu.Lock()
		c.in = append(c.in, data...)
		c.mu.Unlock()
		c.ring()
	})
}

// subscribed ends the time in which nothing takes time.
func (c *conn) subscribed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.instant = false
}

// reset breaks the connection from the node's side.
func (c *conn) reset() {
	c.send(back, func() { c.finish(&net.OpError{Op: "read", Err: syscall.ECONNRESET}) })
}

// dead reports whether a server has found out by now that its client is gone, though no packet said so.
func (c *conn) dead() bool {
	const keepAlive = time.Second
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed.IsZero() && time.Since(c.closed) > keepAlive
}

func (c *conn) finish(err error) {
	c.mu.Lock()
	if c.end == nil {
		c.end = err
	}
	c.mu.Unlock()
	c.ring()
}

func (c *conn) ring() {
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		c.mu.Lock()
		if len(c.in) > 0 && !errors.Is(c.end, net.ErrClosed) {
			n := copy(b, c.in)
			c.in = c.in[n:]
			c.mu.Unlock()
			return n, nil
		}
		end, deadline := c.end, c.deadline
		c.mu.Unlock()
		switch {
		case end != nil:
			return 0, end
		case deadline.IsZero():
			<-c.bell
			continue
		case !time.Now().Before(deadline):
			return 0, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-c.bell:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Close is the client's. What it wrote before is on its way still.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = time.Now()
	c.mu.Unlock()
	c.finish(net.ErrClosed)
	c.send(there, func() { c.n.forget(c) })
	return nil
}

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	if c.deadline = t; !t.IsZero() {
		c.deadline = t.Add(c.ticks)
	}
	c.mu.Unlock()
	c.ring()
	return nil
}

// SetWriteDeadline does nothing: a write does not wait.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func (c *conn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *conn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }

var _ io.ReadWriteCloser = (*conn)(nil)
