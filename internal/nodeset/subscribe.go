package nodeset

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Subscriber gets the messages of pub/sub channels. Its methods are called on one goroutine for each node, and must not
// block.
type Subscriber interface {
	Message(n *Node, channel, text string)
	// Gap says that messages of n may have been missed: the subscription was lost, or was made just now.
	Gap(n *Node)
	// Heard reports that every message which n sent up to this time has been
	// delivered. It is called each time that the node confirms an active
	// subscription: for Subscribe, every HeardEvery.
	Heard(n *Node, upTo time.Time)
}

// HeardEvery is how often a node that Subscribe listens to is asked whether it still sends messages.
const HeardEvery = 250 * time.Millisecond

// hearing is how a node is listened to.
type hearing struct {
	every  time.Duration // how often it is asked whether it still sends messages
	most   int           // events that are taken in within hearPeriod
	stands *atomic.Bool  // whether the subscription stands, if it is not nil
}

// What a node sends beyond a number of events in hearPeriod waits on its connection, so that one that sends as fast as
// it can does not take a processor of every client.
const hearPeriod = 100 * time.Millisecond

// subscribeMost is hearing.most of Subscribe: far above what a busy cache needs.
const subscribeMost = 20_000

// Subscribe hands the messages that nodes send on the channels to s, over a connection of its own to each node. It ends
// with ctx or the Set; wait is for all of s's methods to have returned then.
func (c *Set) Subscribe(ctx context.Context, s Subscriber, channels ...string) (wait func()) {
	return c.subscribe(ctx, s, hearing{every: HeardEvery, most: subscribeMost}, channels)
}

func (c *Set) subscribe(ctx context.Context, s Subscriber, h hearing, channels []string) (wait func()) {
	ctx, cancel := context.WithCancel(ctx)
	forget := context.AfterFunc(c.ctx, cancel)
	var all []chan struct{}
	for _, n := range c.nodes {
		done := make(chan struct{})
		all = append(all, done)
		if !c.spawn(func() { defer close(done); n.subscribe(ctx, s, h, channels) }) {
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

// subscribe serves one node until ctx ends. A subscription that did not last
// long is renewed after ever longer pauses: otherwise a node that accepts and
// drops it would be dialed without end.
func (n *Node) subscribe(ctx context.Context, s Subscriber, h hearing, channels []string) {
	pace := newPace()
	for ctx.Err() == nil {
		if n.down.Load() != nil { // it is probed, and dialling it besides finds it no sooner
			if !pauseIn(ctx, pace.NextBackOff()) {
				return
			}
			continue
		}
		if since := n.relay(ctx, s, h, channels); !since.IsZero() {
			h.standing(false)
			s.Gap(n)
			if time.Since(since) >= steady {
				pace.Reset()
			}
		}
		if !pauseIn(ctx, pace.NextBackOff()) {
			return
		}
	}
}

func (h hearing) standing(stands bool) {
	if h.stands != nil {
		h.stands.Store(stands)
	}
}

// relay subscribes, and hands messages out until the connection fails, a
// question is not answered in time, or the node's name leads to another server.
// It returns since when the subscription was active; zero: never.
func (n *Node) relay(ctx context.Context, s Subscriber, h hearing, channels []string) (since time.Time) {
	turn := n.turns.Load()
	sub := n.client.Subscribe(ctx, channels...)
	defer sub.Close()
	stop := context.AfterFunc(ctx, func() { sub.Close() })
	defer stop()
	r := relayed{n: n, s: s, h: h, sub: sub, missing: len(channels)}
	calm := calmer{most: h.most}
	for r.ask() {
		event, err := nextEvent(sub, r.wait())
		if !r.take(event) {
			break
		}
		if err != nil && !r.patient(err) || err == nil && !calm.event(ctx) || n.turns.Load() != turn {
			break
		}
	}
	return r.since
}

// relayed is one subscription, on one connection.
type relayed struct {
	n       *Node
	s       Subscriber
	h       hearing
	sub     *redis.PubSub
	missing int       // channels that are not confirmed yet
	since   time.Time // when it stood; zero: it does not yet
	asked   time.Time // when a question was last sent
	open    bool      // that question is not answered yet
}

// ask sends a question when it is time for one. It reports false if that failed.
func (r *relayed) ask() bool {
	if r.since.IsZero() || r.open || time.Since(r.asked) < r.h.every {
		return true
	}
	r.asked, r.open = time.Now(), true
	return r.sub.Ping(noDial) == nil
}

// patience is how long a question may go unanswered.
func (r *relayed) patience() time.Duration { return r.h.every + r.n.c.cfg.NodeTimeout }

// wait is how long to wait for the next event: until the next question is due, or
// the last one has gone unanswered for too long.
func (r *relayed) wait() time.Duration {
	wait := r.h.every
	switch {
	case r.open:
		wait = min(wait, time.Until(r.asked.Add(r.patience())))
	case !r.since.IsZero():
		wait = time.Until(r.asked.Add(r.h.every))
	}
	return max(wait, time.Millisecond)
}

// patient reports whether err says only that nothing came, and may go on so. A node
// that was asked nothing has nothing to answer.
func (r *relayed) patient(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout() && !r.since.IsZero() && !r.overdue()
}

func (r *relayed) overdue() bool { return r.open && time.Since(r.asked) >= r.patience() }

// take delivers an event. It reports false for an event that no node sends for
// a single subscription.
func (r *relayed) take(event any) bool {
	switch event := event.(type) {
	case *redis.Subscription:
		if r.missing--; r.missing < 0 || event.Kind != "subscribe" {
			return false
		}
		if r.missing == 0 {
			r.since = time.Now()
			r.h.standing(true)
			r.s.Gap(r.n)
		}
	case *redis.Message:
		r.s.Message(r.n, event.Channel, event.Payload)
	case *redis.Pong:
		if r.open {
			r.s.Heard(r.n, r.asked)
		}
		r.open = false
	}
	return true
}

// calmer makes events wait that come too fast.
type calmer struct {
	most  int
	since time.Time // of this period
	came  int       // in this period
}

// event takes in that one came. It reports false if ctx ended while it waited.
func (c *calmer) event(ctx context.Context) bool {
	now := time.Now()
	if now.Sub(c.since) >= hearPeriod {
		c.since, c.came = now, 0
	}
	if c.came++; c.came == c.most {
		return pauseIn(ctx, hearPeriod-now.Sub(c.since))
	}
	return true
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
