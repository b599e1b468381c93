//go:build unix

package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/venta-hq/redlock/lease"
)

// lease keeps a key, mostly for so long that it must be renewed and that others wait for it.
func (w *worker) lease(ctx context.Context) {
	key, d := w.oneOf(longKeys), w.cfg.Tempo.TTL/2+w.upTo(w.cfg.Tempo.TTL*7/2)
	switch w.rng.IntN(4) {
	case 0:
		key, d = w.oneOf(hotKeys), w.upTo(50*time.Millisecond)
	case 1:
		key, d = jobKey, w.upTo(100*time.Millisecond)
	}
	a := w.begin("lease", key)
	waiting, cancel := context.WithTimeout(ctx, w.cfg.Tempo.TTL*2)
	defer cancel()
	l, err := w.leases.Acquire(waiting, key)
	if err != nil {
		w.finish(a, err)
		return
	}
	a.Resumed = true
	if data, _, ok := l.LastCheckpoint(); ok {
		a.Found = readCheckpoint(data)
	}
	held, stop := context.WithCancel(l.Context())
	defer context.AfterFunc(ctx, stop)()
	defer stop()
	w.hold(l.Context(), a, l.Token(), func() { // held may end before the lease is lost, and with another cause
		for end, n := time.Now().Add(d), int64(1); held.Err() == nil && time.Now().Before(end); n++ {
			rest(held, min(time.Until(end), w.upTo(w.cfg.Tempo.TTL/2)))
			w.checkpoint(l, n)
		}
	})
	w.finish(a, l.Release(context.Background()))
}

// checkpoint writes the n-th checkpoint of a lease. It contains its version; some are so large that they are sent
// outside the stream. Some calls delete the checkpoint instead.
func (w *worker) checkpoint(l *lease.Lease, n int64) {
	d := &deposit{
		version: version{l.Token(), n}, Client: w.cfg.Number, Key: l.Key(), Cleared: w.rng.IntN(8) == 0, Call: now(),
	}
	w.send(report{Kind: reportKept, Deposit: d})
	ctx, cancel := context.WithTimeout(context.Background(), w.upTo(4*w.cfg.Tempo.NodeTimeout))
	defer cancel()
	var err error
	if d.Cleared {
		err = l.ClearCheckpoint(ctx)
	} else {
		padding := 0
		if w.rng.IntN(8) == 0 {
			padding = 20 << 10
		}
		err = l.Checkpoint(ctx, writeCheckpoint(d.version, padding))
	}
	if err != nil && odd(err) {
		w.fail("checkpoint", err)
	}
	d.Kept = err == nil
	w.send(report{Kind: reportKept, Deposit: d})
}

func writeCheckpoint(v version, padding int) []byte {
	return fmt.Appendf(nil, "%d %d %*s", v.Token, v.N, padding, "")
}

// readCheckpoint parses the output of writeCheckpoint. For other data it returns a version that no client wrote.
func readCheckpoint(data []byte) (v version) {
	if _, err := fmt.Sscan(string(data), &v.Token, &v.N); err != nil {
		return version{-1, -1}
	}
	return v
}

// campaign tries to lead for a while, and queries the leader.
func (w *worker) campaign(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.upTo(3*w.cfg.Tempo.TTL))
	defer cancel()
	if w.rng.IntN(2) == 0 {
		w.reign(ctx, fmt.Sprintf("client-%d", w.cfg.Number), nil)
	} else {
		rest(ctx, w.upTo(w.cfg.Tempo.TTL/2))
	}
	asked := now()
	leader, _, err := w.leases.Leader(ctx, electionName)
	switch {
	case err == nil:
		w.send(report{Kind: reportSeen, Seen: &sighting{w.cfg.Number, leader.Candidate, leader.Token, asked, now()}})
	case odd(err):
		w.fail("leader", err)
	}
}

// reign leads until ctx ends or resign is closed.
func (w *worker) reign(ctx context.Context, candidate string, resign <-chan struct{}) {
	a := w.call(attempt{Way: "campaign", Key: electionKey, Candidate: candidate})
	l, err := w.leases.Campaign(ctx, electionName, candidate)
	if err != nil {
		w.finish(a, err)
		return
	}
	w.hold(l.Context(), a, l.Token(), func() {
		select {
		case <-ctx.Done():
		case <-l.Done():
		case <-resign:
			select { // it must see itself as well
			case <-w.sawLast:
			case <-ctx.Done():
			}
		}
	})
	w.finish(a, l.Release(context.Background()))
}

// observe reports the leaders that it is notified of.
func (c *client) observe(leaders <-chan lease.Leader) {
	me := &watch{Client: c.cfg.Number, From: now()}
	c.send(report{Kind: reportWatch, Watch: me})
	saw := false
	for l := range leaders {
		c.send(report{Kind: reportSeen, Seen: &sighting{Client: c.cfg.Number, Candidate: l.Candidate, Token: l.Token, At: now()}})
		if l.Candidate == lastCandidate && !saw {
			saw = true
			close(c.sawLast)
		}
	}
	me.To = now()
	c.send(report{Kind: reportWatch, Watch: me})
}
