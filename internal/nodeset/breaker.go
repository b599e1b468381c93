package nodeset

import (
	"context"
	"log/slog"
	"math/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
)

// downtime is the state of a node that failed to answer: it is not asked until a probe reached it.
type downtime struct {
	mu     sync.Mutex
	err    error
	since  time.Time
	failed atomic.Bool // a command failed since the last probe was begun
}

func (d *downtime) error() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

func (d *downtime) set(err error) {
	d.mu.Lock()
	d.err = err
	d.mu.Unlock()
}

// newPace spaces probes from 10 ms to 0.5 s, with jitter of half of that, so
// that processes do not probe in step. So a node that recovers is noticed
// before the grace of a new set is over.
func newPace() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Millisecond),
		backoff.WithMaxInterval(500*time.Millisecond), backoff.WithMaxElapsedTime(0))
}

// steady is how long a node has to stay up before its next failure is probed at once again.
const steady = 5 * time.Second

// trip marks the node down and starts to probe it. While the node is down it makes sure of one more probe, and once this
// cluster is closed it does nothing.
func (n *Node) trip(err error) {
	err = credentials(err)
	d := &downtime{err: err, since: time.Now()}
	if !n.down.CompareAndSwap(nil, d) {
		if d := n.down.Load(); d != nil {
			d.failed.Store(true)
		}
		return
	}
	if !n.c.spawn(func() { n.recover(d) }) {
		return
	}
	n.tel.Tripped()
	if Unusable(err) {
		n.c.sayOf(n, slog.LevelError, "node cannot be used until it, or its URL, is fixed", "error", err)
	} else {
		n.c.sayOf(n, slog.LevelWarn, "node down", "error", err)
	}
	n.c.logQuorumChange()
}

// recover probes until the node answers, then sends its pending commands and
// marks it up.
func (n *Node) recover(d *downtime) {
	n.mu.Lock()
	if n.pace == nil || time.Since(n.lastUp) > steady {
		n.pace = newPace()
	}
	pace, wait := n.pace, time.Duration(0)
	if !n.lastUp.IsZero() && time.Since(n.lastUp) <= steady {
		wait = pace.NextBackOff()
	}
	n.mu.Unlock()
	for {
		if !n.c.pause(wait) {
			return
		}
		d.failed.Store(false)
		err := n.probe(n.c.ctx)
		if err == nil && n.up(d) {
			return
		}
		if err != nil {
			d.set(err)
		}
		wait = pace.NextBackOff()
	}
}

// probe reaches the node over the pool of connections that the stream uses.
func (n *Node) probe(caller context.Context) error {
	patience := 2 * n.c.cfg.NodeTimeout
	ctx, cancel := context.WithTimeout(caller, patience+time.Duration(rand.Int63n(int64(patience/64)+1))) // not all at one moment
	defer cancel()
	if err := n.meetServers(ctx); err != nil {
		return credentials(err)
	}
	_, err := n.client.Pipelined(ctx, func(p redis.Pipeliner) error { p.Ping(ctx); return nil })
	if err == nil {
		n.c.startBootstrap()
		if err = n.outside(); err != nil && !n.isCluster { // is it still so? of a Redis Cluster the mark was read just now
			n.look(caller) // each step ends by itself
			err = n.outside()
		}
	}
	return credentials(err)
}

// meetServers connects to every server behind a node that is a Redis Cluster,
// before anything is asked of it: a server that was first met later would be
// mistaken for a replacement.
func (n *Node) meetServers(ctx context.Context) error {
	client, ok := n.client.(*redis.ClusterClient)
	if !ok {
		return nil
	}
	var mu sync.Mutex
	runs := map[string]bool{}
	err := client.ForEachMaster(ctx, func(ctx context.Context, server *redis.Client) error {
		text, err := server.Info(ctx, "server").Result()
		if err != nil && answered(err) { // it may not be asked
			return server.Ping(ctx).Err()
		}
		if run := parseInfo(text).runID; run != "" {
			mu.Lock()
			runs[run] = true
			mu.Unlock()
		}
		return err
	})
	if err == nil {
		err = n.replaceServers(runs)
	}
	if err == nil {
		n.mu.Lock()
		f := n.facts
		n.mu.Unlock()
		err = n.mark(ctx, client, f)
	}
	n.met.Store(n.met.Load() || err == nil)
	return err
}

// up sends the node's pending commands, and then marks it up. It reports false
// if the node failed again in the meantime.
func (n *Node) up(d *downtime) bool {
	loaded := map[*Script]bool{}
	for {
		owed, up := n.takePending(d)
		if up {
			break
		}
		if len(owed) == 0 {
			return false
		}
		for _, o := range owed {
			// A node that restarted lacks the script. The first is sent as source: else the pending commands behind it would be sent
			// a second time, and by then not ahead of what is new.
			n.settle(call{Command: o.cmd, bySource: !loaded[o.cmd.script], recovery: true}, o)
			loaded[o.cmd.script] = true
		}
	}
	n.c.sayOf(n, slog.LevelInfo, "node back", "after", time.Since(d.since).Round(time.Millisecond))
	n.c.logQuorumChange()
	return true
}

// takePending removes and returns the node's pending commands. If there are
// none, the node is up from then on: a pending command is either among those
// returned, or sent by owe itself. Commands for a node that failed again stay
// pending.
func (n *Node) takePending(d *downtime) (owed []pending, up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case d.failed.Load():
		return nil, false
	case len(n.pending) == 0:
		n.lastUp = time.Now()
		n.noteIncarnationLocked()
		n.down.Store(nil)
		return nil, true
	}
	owed, n.pending = n.pending, nil
	return owed, false
}
