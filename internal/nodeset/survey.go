package nodeset

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Report is what a node says of itself when it is asked, beside its Status.
type Report struct {
	Status
	Latency     time.Duration // a round trip, the fastest of three; 0 where it did not answer
	Persistence string        // "none", or when its append-only file is synced: "always", "everysec", "no"; "" where it does not say
	Eviction    string        // maxmemory-policy; "" where it does not say
	Server      string        // the program, such as "valkey" or "redlock-embedded"; "": unknown, or Redis
}

// Survey asks every node that is not down for its state, all at the same time.
// It takes at most two NodeTimeouts; a node that does not answer by then is
// down. Uptime and ClockOffset are current.
func (c *Set) Survey(ctx context.Context) []Report {
	reports := make([]Report, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() {
			if n.down.Load() == nil {
				reports[i] = n.survey(ctx)
			}
		})
	}
	wg.Wait()
	for i, s := range c.Status() {
		r := &reports[i]
		if asked := r.Status; asked.Up { // fresher than what the last connection brought
			s.Version, s.Uptime, s.ClockOffset = asked.Version, asked.Uptime, asked.ClockOffset
		} else if s.Up {
			s.Up, s.Err, s.Since = asked.Err == nil, asked.Err, asked.Since
			s.Votes = s.Votes && s.Up
		}
		r.Status = s
	}
	return reports
}

// survey is what the node answers, with Status.Up if it did.
func (n *Node) survey(ctx context.Context) (r Report) {
	ctx, cancel := context.WithTimeout(ctx, 2*n.c.cfg.NodeTimeout)
	defer cancel()
	asked := time.Now()
	f, err := askFacts(ctx, n.client)
	if took := time.Since(asked); err == nil && !f.now.IsZero() {
		r.ClockOffset = f.now.Sub(asked.Add(took / 2))
	}
	for i := 0; i < 3 && err == nil; i++ {
		begun := time.Now()
		_, err = n.client.Pipelined(ctx, func(p redis.Pipeliner) error { p.Ping(ctx); return nil })
		if took := time.Since(begun); r.Latency == 0 || took < r.Latency {
			r.Latency = took
		}
	}
	if err != nil {
		if lost(err) && !errors.Is(ctx.Err(), context.Canceled) {
			n.trip(err)
		}
		return Report{Status: Status{Err: credentials(err), Since: asked}}
	}
	r.Up, r.Version, r.Uptime, r.Eviction = true, f.version, f.uptime, f.evicts
	r.Server = f.name
	switch {
	case f.runID == "":
	case f.aof:
		r.Persistence = f.fsync
	default:
		r.Persistence = "none"
	}
	return r
}
