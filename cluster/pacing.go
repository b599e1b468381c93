package cluster

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// pace is how many bytes a node has to move in a second, at least, for what takes longer than NodeTimeout not to be
// taken for silence: a large value may be on its way for as long as it needs at this pace.
const pace = 8 << 20

// chunk is how much is written before a deadline is moved.
const chunk = 256 << 10

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// paced has the connections of dial move their deadlines with the bytes that they carry. A nil dial is go-redis's own.
func (t tuning) paced(dial dialer, secure *tls.Config) dialer {
	if dial == nil {
		dial = redis.NewDialer(&redis.Options{DialTimeout: t.timeout, TLSConfig: secure})
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &pacedConn{Conn: conn, timeout: t.timeout}
		if raw, ok := conn.(syscall.Conn); ok { // go-redis looks at the socket before it uses it again
			return &pacedSocket{c, raw}, nil
		}
		return c, nil
	}
}

// pacedConn is a connection whose deadlines bound silence, and not how long a large value is on its way.
type pacedConn struct {
	net.Conn
	timeout     time.Duration
	read, write deadline
}

// pacedSocket is one whose socket can be looked at.
type pacedSocket struct {
	*pacedConn
	syscall.Conn
}

// deadline is the time that was set, and how many bytes were carried since.
type deadline struct {
	mu    sync.Mutex
	at    time.Time
	bytes int
	moved int // bytes for which the deadline was moved last
}

func (d *deadline) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.bytes, d.moved = at, 0, 0
}

// needs is how long the bytes take at pace that were carried.
func (d *deadline) needs() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return timeFor(d.bytes)
}

func timeFor(bytes int) time.Duration { return time.Duration(bytes) * time.Second / pace }

// carried counts n bytes, and returns where the deadline is moved to once there are enough of them: as far as pace
// allows, but not further than timeout from now.
func (d *deadline) carried(n int, now time.Time, timeout time.Duration) (to time.Time, moved bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes += n
	if d.at.IsZero() || d.bytes < d.moved+chunk {
		return to, false
	}
	d.moved = d.bytes
	to = d.at.Add(timeFor(d.bytes))
	if latest := now.Add(timeout); to.After(latest) {
		to = latest
	}
	return to, to.After(d.at)
}

func (c *pacedConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline leaves a node time for what was written just before: some of that may still be on its way.
func (c *pacedConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		t = t.Add(c.write.needs())
	}
	c.read.set(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *pacedConn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return c.Conn.SetWriteDeadline(t)
}

func (c *pacedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		if to, moved := c.read.carried(n, time.Now(), c.timeout); moved {
			c.Conn.SetReadDeadline(to)
		}
	}
	return n, err
}

func (c *pacedConn) Write(b []byte) (written int, err error) {
	for {
		n, err := c.Conn.Write(b[:min(len(b), chunk)])
		written, b = written+n, b[n:]
		if to, moved := c.write.carried(n, time.Now(), c.timeout); moved {
			c.Conn.SetWriteDeadline(to)
		}
		if err != nil || len(b) == 0 {
			return written, err
		}
	}
}
