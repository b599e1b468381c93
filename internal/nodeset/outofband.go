package nodeset

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// largeAtOnce is how many large commands a node takes at once. Each may hold it up for as long as it copies the arguments.
const largeAtOnce = 4

// RunOutOfBand is Run on a connection beside the stream, for commands so large that the commands behind them should not wait.
// They are not ordered relative to other commands. At most four run at once per node; others wait, Config.MaxQueued at
// most, and fail with ErrClosed once Close was called. A node that does not answer such a command in time is down if it
// does not answer a PING either, or if that happens several times in a row.
func (n *Node) RunOutOfBand(s *Script, keys []string, args []any, r Receiver) {
	if d := n.down.Load(); d != nil {
		deliver(r, n, nil, n.refusal(d))
		return
	}
	if n.outOfBandUnanswered.Add(1) > int64(n.c.cfg.MaxQueued) {
		n.outOfBandUnanswered.Add(-1)
		deliver(r, n, nil, errFull)
		return
	}
	if !n.c.begin() {
		n.outOfBandUnanswered.Add(-1)
		deliver(r, n, nil, ErrClosed)
		return
	}
	if !n.c.spawn(func() { n.outOfBand(s.Command(keys, args...), r) }) {
		n.outOfBandUnanswered.Add(-1)
		deliver(r, n, nil, ErrClosed)
		n.c.end()
	}
}

func (n *Node) outOfBand(c Command, r Receiver) {
	defer n.c.end()
	reply, err := n.runOutOfBand(c)
	n.outOfBandUnanswered.Add(-1)
	deliver(r, n, reply, err)
}

// runOutOfBand runs c when its turn has come. It waits for no turn once the cluster closes.
func (n *Node) runOutOfBand(c Command) (reply any, err error) {
	select {
	case n.large <- struct{}{}:
	default:
		select {
		case n.large <- struct{}{}:
		case <-n.c.leaving:
			return nil, ErrClosed
		}
	}
	defer func() { <-n.large }()
	if d := n.down.Load(); d != nil {
		return nil, n.refusal(d)
	}
	cmd := c.redis(false)
	err = n.process(context.WithoutCancel(n.c.ctx), cmd)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		cmd = c.redis(true)
		err = n.process(context.WithoutCancel(n.c.ctx), cmd)
	}
	n.reportError(err)
	switch {
	case lost(err):
		n.suspect(err, !c.reads())
	case answered(err):
		n.timely()
	}
	return cmd.Val(), err
}

// process sends cmd beside the stream, and fills in its answer.
func (n *Node) process(ctx context.Context, cmd *redis.Cmd) (err error) {
	defer func() {
		if p := recover(); p != nil { // as in exec
			err = fmt.Errorf("unreadable reply: %v", p)
		}
	}()
	return n.client.Process(ctx, cmd)
}
