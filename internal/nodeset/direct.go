package nodeset

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/errs"
)

// Up reports whether commands are sent to the node. They are not from the time
// it failed to answer until a probe reaches it.
func (n *Node) Up() bool { return n.down.Load() == nil }

// Command sends a plain command that reads on the node's stream, as Run sends a Yielding script.
func (n *Node) Command(cmd *redis.Cmd, r Receiver) {
	if d := n.down.Load(); d != nil {
		deliver(r, n, nil, n.refusal(d))
		return
	}
	n.send(call{Command: Command{words: cmd.Args()}, receiver: r})
}

// Ask runs a plain command that reads, on a connection beside the streams. It waits for the answer on the caller's
// goroutine, for NodeTimeout at most, or until ctx's deadline. It is the fastest way for a lone caller; among many
// callers the stream is faster. It is not ordered relative to other commands. A healthy node may be late with a large
// answer, so a late answer takes the node down only if a PING is not answered either, or if answers are late several
// times in a row.
func (n *Node) Ask(ctx context.Context, cmd *redis.Cmd) error { return n.ask(ctx, cmd, n.doubt) }

// ask is Ask. What happens to a node that is lost, fails decides.
func (n *Node) ask(ctx context.Context, cmd *redis.Cmd, fails func(error)) error {
	if d := n.down.Load(); d != nil {
		return n.refusal(d)
	}
	if !n.c.begin() {
		return ErrClosed
	}
	defer n.c.end()
	began := n.tel.Now()
	err := n.process(ctx, cmd)
	if !lost(err) || !hurried(ctx) {
		n.reportOne(began, err)
	}
	if answered(err) {
		n.timely()
	}
	switch {
	case !lost(err):
		return err
	case hurried(ctx):
		return tookTooLong(ctx, err)
	}
	fails(err)
	return err
}

// AskScript is Ask with a script. See Incarnation.Back for what follows if one that may write is not answered in time.
func (n *Node) AskScript(ctx context.Context, s *Script, keys []string, args []any) (reply any, err error) {
	c := s.Command(keys, args...)
	fails := func(err error) { n.suspect(err, !c.reads()) }
	cmd := c.redis(false)
	err = n.ask(ctx, cmd, fails)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		cmd = c.redis(true)
		err = n.ask(ctx, cmd, fails)
	}
	return cmd.Val(), err
}

// tookTooLong is the error of a hurried caller: why its ctx ended, and what became of the command.
func tookTooLong(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
	case <-time.After(endsSoon):
	}
	why := errs.Ended(ctx)
	if why == nil {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	if err == ctx.Err() {
		return why
	}
	return errs.Errorf("%w: %w", why, err)
}

// endsSoon is how long a context whose deadline has passed may take to end, and to say why: on a busy machine its timer is
// late. Only a context that never ends at its deadline is waited for that long.
const endsSoon = 2 * time.Second

// hurried reports whether the caller's context ended the wait. The socket may
// know of the deadline before ctx does.
func hurried(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// doubts is what is doubtful about a node that did not answer in time.
type doubts struct {
	mu    sync.Mutex
	asked bool // a PING is on its way
	again bool // more was not answered since it was sent
	wrote bool // what was not answered may have written

	late  atomic.Int32 // how often, in a row, an answer was late; set under mu
	since time.Time    // when late was last raised
}

// maxLate is how many times in a row a node that answers a PING may answer nothing else in time before it is down.
const maxLate = 3

// doubt handles err, which says that a command that reads was lost.
func (n *Node) doubt(err error) { n.suspect(err, false) }

// suspect handles err, which means that a command was lost. The node is down,
// unless err may only mean that an answer was large: then the node is sent a
// PING first. If the command may have written, its effect is unknown, so the
// node counts as unreachable until now.
func (n *Node) suspect(err error, wrote bool) {
	if !tooLate(err) || n.lateAgain(wrote) {
		n.trip(err)
		return
	}
	d := &n.doubts
	d.mu.Lock()
	asked := d.asked
	d.asked, d.again = true, asked
	d.mu.Unlock()
	if !asked {
		n.askWhetherThere()
	}
}

// lateAgain counts an answer that is late, and reports whether that is once too often. What is late together counts as one.
func (n *Node) lateAgain(wrote bool) bool {
	d := &n.doubts
	d.mu.Lock()
	defer d.mu.Unlock()
	if wrote {
		d.wrote = true
		n.tellMissed()
	}
	now := time.Now()
	if now.Sub(d.since) < n.c.cfg.NodeTimeout {
		return false
	}
	d.since = now
	if d.late.Add(1) < maxLate {
		return false
	}
	d.late.Store(0)
	return true
}

// timely takes in that the node answered something other than a PING in time.
func (n *Node) timely() {
	d := &n.doubts
	if d.late.Load() == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.late.Store(0)
}

func (n *Node) askWhetherThere() {
	n.send(call{Command: Command{words: []any{"ping"}}, receiver: believed{}, owed: true, probe: true})
}

func (n *Node) tellMissed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missed = time.Now()
	n.noteIncarnationLocked()
}

// tooLate reports whether err says that writing a command or reading its answer took longer than NodeTimeout. The command
// or the answer may be large.
func tooLate(err error) bool {
	var late *net.OpError
	return errors.As(err, &late) && (late.Op == "read" || late.Op == "write") && late.Timeout()
}

// believed gets the answer of a node that was in doubt. If there was none, the node is down.
type believed struct{}

func (believed) Receive(n *Node, _ any, _ error) {
	d := &n.doubts
	d.mu.Lock()
	if d.wrote { // perhaps it was done meanwhile
		n.tellMissed()
	}
	again := d.again
	d.asked, d.again, d.wrote = again, false, d.wrote && again
	d.mu.Unlock()
	if again {
		n.askWhetherThere()
	}
}
