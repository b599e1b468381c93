package keepalive

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/telemetry"
)

// Why leases are lost, besides what the nodes answer to a renewal.
var (
	expired     = quorumlock.Expired
	clockJumped = quorumlock.Reason{Class: quorumlock.ClassClock, Text: "expired, by a clock that jumped or a machine that was suspended"}
	heldTooLong = quorumlock.Reason{Class: quorumlock.ClassMaxHold, Text: "held for MaxHold"}
	overtaken   = quorumlock.Reason{Class: quorumlock.ClassOvertaken, Text: "overtaken by a newer token"}
	foundLate   = quorumlock.Reason{Class: quorumlock.ClassAtRelease, Text: "lost before it was released"}
)

// reported is Await, with what came of it reported. A reader joins others of this
// process, as by Lock.
func (s *Leases) reported(ctx context.Context, key string, req Request) (*Lease, error) {
	if err := req.refuseLimit("Acquire, Attach, Campaign or RunOnce"); err != nil {
		return nil, err
	}
	acquire := s.Await
	if req.Shared {
		acquire = s.Lock
	}
	began := s.tel.Now()
	l, err := acquire(ctx, key, req)
	if s.tel != nil {
		s.tel.Waited(ctx, key, string(req.Mode()), began, quorumlock.RefusalClass(err))
	}
	return l, err
}

// dated is the parent of a lease that begins now. It carries when that was, where it is reported how long leases are held,
// so that no lease has to keep it otherwise.
func (s *Leases) dated(p context.Context) context.Context {
	if s.tel == nil {
		return p
	}
	return datedParent{p, time.Now()}
}

type datedParent struct {
	context.Context
	since time.Time
}

// reportEnd says how long a lease was held. It is called once for each, without a mutex.
func (s *Leases) reportEnd(l *Lease, how string) {
	if since := l.since(); !since.IsZero() {
		s.tel.Held(l.t.key(), string(l.t.hold.Mode()), since, how)
	}
}

// reportLoss says that a lease was lost. It is called without a mutex.
func (s *Leases) reportLoss(t *renewal, why quorumlock.Reason) {
	s.tel.Lost(t.key(), string(t.hold.Mode()), string(why.Class))
	s.c.Say(slog.LevelError, "lock lost", "key", t.key(), "token", t.hold.Token(), "reason", why.Text)
}

// observed is settle, with how close to the deadline it was called reported.
func (s *Leases) observed(t *renewal, settle func(quorumlock.Verdict)) func(quorumlock.Verdict) {
	if s.tel == nil {
		return settle
	}
	deadline := t.hold.Deadline()
	return func(v quorumlock.Verdict) {
		s.tel.Renewed(t.key(), nodeset.Left(deadline, time.Now()), t.ttl, v.String())
		settle(v)
	}
}

// watch has the number of leases, and the age of the oldest, read when the metrics
// are collected.
func (s *Leases) watch() {
	var stop []func()
	for i, mode := range renewedModes {
		stop = append(stop, s.tel.Watch(telemetry.ModeAttr, string(mode), func(see telemetry.See) {
			s.renewer.mu.Lock()
			n := s.renewer.byMode[i]
			s.renewer.mu.Unlock()
			see(telemetry.LockHeld, float64(n))
		}))
	}
	longest := s.tel.Watch(telemetry.NodesAttr, s.c.Names(), func(see telemetry.See) {
		see(telemetry.LockHeldLongest, s.renewer.longest(time.Now()).Seconds())
	})
	s.unwatch = func() {
		for _, stop := range append(stop, longest) {
			stop()
		}
	}
}

// renewedModes are the modes of the keys that a process renews.
var renewedModes = [...]quorumlock.Mode{quorumlock.ModeExclusive, quorumlock.ModeShared, quorumlock.ModeLimit, quorumlock.ModeRetained}

// placeLocked is where in renewer.byMode a key that is renewed counts, from 1.
func (t *renewal) placeLocked() int8 {
	mode := t.hold.Mode()
	if t.state == retained {
		mode = quorumlock.ModeRetained
	}
	return int8(1 + slices.Index(renewedModes[:], mode))
}

// countLocked counts t in this place of byMode; 0: it is not renewed any more.
func (r *renewer) countLocked(t *renewal, place int8) {
	if place == t.counted {
		return
	}
	if t.counted > 0 {
		r.byMode[t.counted-1]--
	}
	if place > 0 {
		r.byMode[place-1]++
	}
	t.counted = place
}

// longest is for how long the oldest lease has been held. It looks at some at a
// time: renewals are not held up. One that is moved within the queue meanwhile may
// be missed until the next look.
func (r *renewer) longest(now time.Time) (longest time.Duration) {
	const some = 512
	for from, more := 0, true; more; from += some {
		r.mu.Lock()
		more = from+some < len(r.queue)
		for _, t := range r.queue[min(from, len(r.queue)):min(from+some, len(r.queue))] {
			if since := t.sinceLocked(); !since.IsZero() {
				longest = max(longest, now.Sub(since))
			}
		}
		r.mu.Unlock()
	}
	return longest
}

// sinceLocked is when the lease began, or the first of those that share the key; the
// zero time if there is none, or that is not reported.
func (t *renewal) sinceLocked() (first time.Time) {
	if t.lease != nil {
		return t.lease.since()
	}
	if t.readers == nil {
		return first
	}
	for _, l := range t.readers.leases {
		if since := l.since(); first.IsZero() || since.Before(first) {
			first = since
		}
	}
	return first
}

// since is when the lease began; the zero time where that is not reported.
func (l *Lease) since() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, _ := l.parent.(datedParent)
	return p.since
}

// Stats counts what Leases have done since they were made.
type Stats struct {
	Waits     int64 // calls of Lock that waited for another call of this process
	HandOvers int64 // leases that were handed over
	Losses    int64 // leases that were lost
	Queued    int64 // calls of Lock that wait for another call of this process now
}

type counters struct{ waits, handOvers, losses, queued atomic.Int64 }

// Stats may be called at any time; the numbers are not taken at one instant.
func (s *Leases) Stats() Stats {
	c := &s.stats
	return Stats{c.waits.Load(), c.handOvers.Load(), c.losses.Load(), c.queued.Load()}
}
