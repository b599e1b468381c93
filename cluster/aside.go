package cluster

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// largeAtOnce is how many large commands a node takes at once. Each may hold it up for as long as it copies the arguments.
const largeAtOnce = 4

// RunAside is Run on a connection beside the stream, for commands so large that
// the commands behind them should not wait. A node that does not take such a
// command in time is down only if it does not answer a PING either. At most four run at once per node;
// others wait. They are not ordered relative to other commands.
func (n *Node) RunAside(s *Script, keys []string, args []any, r Receiver) {
	if d := n.down.Load(); d != nil {
		deliver(r, n, nil, n.refusal(d))
		return
	}
	if !n.c.begin() {
		deliver(r, n, nil, ErrClosed)
		return
	}
	if !n.c.spawn(func() { n.aside(s.Command(keys, args...), r) }) {
		deliver(r, n, nil, ErrClosed)
		n.c.end()
	}
}

func (n *Node) aside(c Command, r Receiver) {
	defer n.c.end()
	n.large <- struct{}{}
	defer func() { <-n.large }()
	if d := n.down.Load(); d != nil {
		deliver(r, n, nil, n.refusal(d))
		return
	}
	cmd := c.redis(false)
	err := n.process(context.WithoutCancel(n.c.ctx), cmd)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		cmd = c.redis(true)
		err = n.process(context.WithoutCancel(n.c.ctx), cmd)
	}
	n.reportError(err)
	if lost(err) {
		n.miss(err)
	}
	deliver(r, n, cmd.Val(), err)
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
