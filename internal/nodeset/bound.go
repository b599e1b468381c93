package nodeset

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

const (
	// maxReplyWords bounds the values in one reply, all that it contains counted,
	// and maxReplyDepth how deep they contain each other. go-redis allocates what
	// a length announces before anything of it has arrived, and a process that
	// runs out of memory or stack cannot recover.
	maxReplyWords = 1 << 22
	maxReplyDepth = 64
	// maxReplyBulk is the longest string, in bytes: the largest value of package
	// cache, 64 MiB, and the names of its tags before it.
	maxReplyBulk = 80 << 20
	// maxReplyLine is the longest line, such as an error.
	maxReplyLine = 1 << 20
)

// errReply is what a connection fails with whose node sends what no node sends.
var errReply = errors.New("unreadable reply")

// errAged is the error of a connection that is used for longer than allowed.
// go-redis closes old connections by the clock of the machine, which may have
// been set back.
var errAged = errors.New("the connection is too old: this machine's clock was set back, or this process was stopped")

// bounded returns conn, which was just made, with replies that are bounded, and
// with an end of its use: over an old connection a server may be asked that is
// no longer the node's. Subscriptions have no such limit, because nothing is
// asked over them. It is a syscall.Conn if conn is one: go-redis looks at the
// socket before it uses a connection again.
func bounded(conn net.Conn, lifetime time.Duration) net.Conn {
	c := &boundedConn{Conn: conn, made: time.Now(), lifetime: lifetime}
	if raw, ok := conn.(syscall.Conn); ok {
		return &boundedSocket{c, raw}
	}
	return c
}

type boundedConn struct {
	net.Conn
	bound      replyBound
	made       time.Time
	lifetime   time.Duration
	subscribes bool
}

type boundedSocket struct {
	*boundedConn
	syscall.Conn
}

// Write sends b unless the connection is too old. It is called by one goroutine
// at a time.
func (c *boundedConn) Write(b []byte) (int, error) {
	c.subscribes = c.subscribes || bytes.Contains(b[:min(len(b), len(subscribing)+4)], subscribing)
	if !c.subscribes && time.Since(c.made) > c.lifetime {
		return 0, errAged
	}
	return c.Conn.Write(b)
}

// subscribing is in the first bytes of the command that makes a connection one
// of a subscription.
var subscribing = []byte("\r\n$9\r\nsubscribe\r\n")

// Read returns what arrived, unless it begins a reply that is out of bounds.
// After such a reply it returns nothing, because go-redis looks for messages
// before it reads a reply, and ignores a failure of that. Read is called by one
// goroutine at a time.
func (c *boundedConn) Read(b []byte) (int, error) {
	if c.bound.err != nil {
		return 0, c.bound.err
	}
	n, err := c.Conn.Read(b)
	if bad := c.bound.take(b[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// replyBound follows the lengths in a stream of replies (RESP2 and RESP3). It
// keeps no more of them than their nesting.
type replyBound struct {
	kind   byte  // of the line that is being read; 0: none
	digits int64 // the length in it so far
	minus  bool
	line   int   // bytes of it so far
	skip   int64 // bytes of a string still to come, its end included

	open  []int64 // how many values each array that is being read still lacks, the outermost first
	words int64   // values in the reply so far, announced ones included
	err   error
}

func (r *replyBound) take(b []byte) error {
	for len(b) > 0 && r.err == nil {
		switch {
		case r.skip > 0:
			n := min(r.skip, int64(len(b)))
			b = b[n:]
			if r.skip -= n; r.skip == 0 {
				r.complete()
			}
		case r.kind == 0:
			r.kind, r.digits, r.minus, r.line = b[0], 0, false, 0
			b = b[1:]
		default:
			end := bytes.IndexByte(b, '\n')
			if end < 0 {
				r.inLine(b)
				return r.err
			}
			r.inLine(b[:end])
			b = b[end+1:]
			r.endLine()
		}
	}
	return r.err
}

// inLine takes bytes of a line without its end.
func (r *replyBound) inLine(some []byte) {
	if r.line += len(some); r.line > maxReplyLine {
		r.err = fmt.Errorf("%w: a line of more than %d bytes", errReply, maxReplyLine)
	}
	switch r.kind {
	case '+', '-', ':', ',', '(', '#', '_':
		return // without a length
	}
	for _, c := range some {
		switch {
		case c >= '0' && c <= '9':
			r.digits = min(r.digits*10+int64(c-'0'), 1<<40)
		case c == '-':
			r.minus = true
		}
	}
}

// endLine takes in a whole line. A negative length stands for nil.
func (r *replyBound) endLine() {
	kind, n := r.kind, r.digits
	r.kind = 0
	if r.minus && n > 0 {
		n = -1
	}
	switch kind {
	case '$', '=', '!':
		switch {
		case n > maxReplyBulk:
			r.err = fmt.Errorf("%w: a string of %d bytes", errReply, n)
		case n < 0:
			r.complete()
		default:
			r.skip = n + 2
		}
	case '*', '~', '>':
		r.begin(n)
	case '%':
		r.begin(2 * n)
	case '|':
		r.begin(2*n + 1) // and the reply that it belongs to
	default:
		r.complete()
	}
}

// begin takes in that n values follow which are one.
func (r *replyBound) begin(n int64) {
	if n <= 0 {
		r.complete()
		return
	}
	r.open, r.words = append(r.open, n), r.words+n
	if r.words > maxReplyWords || len(r.open) > maxReplyDepth {
		r.err = fmt.Errorf("%w: %d values, %d deep", errReply, r.words, len(r.open))
	}
}

// complete takes in the end of a value, and of those that it ends.
func (r *replyBound) complete() {
	for last := len(r.open) - 1; last >= 0; last-- {
		if r.open[last]--; r.open[last] > 0 {
			return
		}
		r.open = r.open[:last]
	}
	r.words = 0
}
