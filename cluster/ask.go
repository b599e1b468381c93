package cluster

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Up reports whether the node is asked at present: it is not, from when it failed to answer until a probe reached it.
func (n *Node) Up() bool { return n.down.Load() == nil }

// Command sends a plain command on the node's stream, as Run sends a Yielding script.
func (n *Node) Command(cmd *redis.Cmd, r Receiver) {
	if d := n.down.Load(); d != nil {
		deliver(r, n, nil, n.refusal(d))
		return
	}
	n.send(call{Command: Command{words: cmd.Args()}, receiver: r})
}

// Ask runs a plain command on a connection beside the stream and waits for its answer on the caller's goroutine, for
// NodeTimeout at most, or until ctx's deadline. It is the fastest way for a lone caller; among many the stream is. Nothing
// is promised about its order to other commands.
func (n *Node) Ask(ctx context.Context, cmd *redis.Cmd) error {
	if d := n.down.Load(); d != nil {
		return n.refusal(d)
	}
	if !n.c.begin() {
		return ErrClosed
	}
	defer n.c.end()
	return n.ask(ctx, cmd)
}

// AskScript is Ask with a script.
func (n *Node) AskScript(ctx context.Context, s *Script, keys []string, args []any) (reply any, err error) {
	c := s.Command(keys, args...)
	cmd := c.redis(false)
	err = n.Ask(ctx, cmd)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		cmd = c.redis(true)
		err = n.Ask(ctx, cmd)
	}
	return cmd.Val(), err
}

func (n *Node) ask(ctx context.Context, cmd *redis.Cmd) error {
	began := n.tel.Now()
	err := n.process(ctx, cmd)
	if !lost(err) || !hurried(ctx) {
		n.reportOne(began, err)
	}
	switch {
	case !lost(err):
		return err
	case hurried(ctx):
		return fmt.Errorf("%w: %w", cmp.Or(ctx.Err(), context.DeadlineExceeded), err)
	}
	n.trip(err)
	return err
}

// hurried reports whether it is the caller who did not want to wait any longer. The socket may know of the deadline
// before ctx does.
func hurried(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}
