package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Subscriber gets the messages of pub/sub channels. Its methods are called on one goroutine for each node, and must not
// block.
type Subscriber interface {
	Message(n *Node, channel, text string)
	// Gap says that messages of n may have been missed: the subscription was lost, or was made just now.
	Gap(n *Node)
	// Heard says that every message which n sent up to this time has been handed out. It comes every HeardEvery while
	// the subscription stands.
	Heard(n *Node, upTo time.Time)
}

// HeardEvery is how often a node is asked whether it still sends messages.
const HeardEvery = 250 * time.Millisecond

// Subscribe hands the messages that nodes send on the channels to s, over a connection of its own to each node. It ends
// with ctx or the Cluster; wait is for all of s's methods to have returned then.
func (c *Cluster) Subscribe(ctx context.Context, s Subscriber, channels ...string) (wait func()) {
	return c.subscribe(ctx, s, HeardEvery, channels)
}

func (c *Cluster) subscribe(ctx context.Context, s Subscriber, every time.Duration, channels []string) (wait func()) {
	ctx, cancel := context.WithCancel(ctx)
	forget := context.AfterFunc(c.ctx, cancel)
	var all []chan struct{}
	for _, n := range c.nodes {
		done := make(chan struct{})
		all = append(all, done)
		if !c.spawn(func() { defer close(done); n.subscribe(ctx, s, every, channels) }) {
			close(done)
		}
	}
	return func() {
		cancel()
		forget()
		for _, done := range all {
			<-done
		}
	}
}

// subscribe serves one node until ctx ends, and asks it in this interval whether it still sends messages.
func (n *Node) subscribe(ctx context.Context, s Subscriber, every time.Duration, channels []string) {
	pace := newPace()
	for ctx.Err() == nil {
		if n.relay(ctx, s, every, channels) {
			s.Gap(n)
			pace.Reset()
		}
		if !pauseIn(ctx, pace.NextBackOff()) {
			return
		}
	}
}

// relay subscribes, and hands messages out until the connection fails or a question is not answered in time. It reports
// whether the subscription ever stood.
func (n *Node) relay(ctx context.Context, s Subscriber, every time.Duration, channels []string) (stood bool) {
	sub := n.client.Subscribe(ctx, channels...)
	defer sub.Close()
	stop := context.AfterFunc(ctx, func() { sub.Close() })
	defer stop()
	var last time.Time // when a question was last sent
	open := false      // it is not answered yet
	for {
		if stood && !open && time.Since(last) >= every {
			last, open = time.Now(), true
			if sub.Ping(noDial) != nil {
				return stood
			}
		}
		event, err := nextEvent(sub, every)
		var late net.Error
		switch event := event.(type) {
		case *redis.Subscription:
			s.Gap(n)
			stood = event.Count == len(channels)
		case *redis.Message:
			s.Message(n, event.Channel, event.Payload)
		case *redis.Pong:
			s.Heard(n, last)
			open = false
		}
		patient := errors.As(err, &late) && late.Timeout() && stood && time.Since(last) < 2*every+n.c.cfg.NodeTimeout
		if err != nil && !patient {
			return stood
		}
	}
}

// nextEvent waits for an event. go-redis reads what a node sends to a subscription
// as if it were what it must be, and panics if it is not.
func nextEvent(sub *redis.PubSub, timeout time.Duration) (event any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errReply, p)
		}
	}()
	return sub.ReceiveTimeout(noDial, timeout)
}

// noDial keeps go-redis from connecting again by itself when a subscription's
// connection broke. It does that under the mutex that Close needs, so Close would
// take as long as a dial to a node that does not answer. go-redis heeds the end
// of a context only when it dials.
var noDial = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func pauseIn(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
