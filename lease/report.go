package lease

import (
	"context"
	"log/slog"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/telemetry"
	"github.com/venta-hq/redlock/mutex"
)

// Why leases are lost.
const (
	expired     = "expired"
	clockJumped = "expired, by a clock that jumped or a machine that was suspended"
	heldTooLong = "held for MaxHold"
	overtaken   = "overtaken by a newer token"
	foundLate   = "lost before it was released"
)

// reasonClass is a reason in a word, for metrics. What else there is comes from the nodes' answers to a renewal.
func reasonClass(reason string) string {
	switch reason {
	case expired:
		return "expired"
	case clockJumped:
		return "clock"
	case heldTooLong:
		return "max_hold"
	case overtaken:
		return "overtaken"
	case foundLate:
		return "found_at_release"
	case mutex.GoneOrTaken:
		return "taken"
	}
	return "forced"
}

// reported is get, Try or Await, with what came of it reported.
func (s *Leases) reported(ctx context.Context, key string, req Request,
	get func(context.Context, string, Request) (*Lease, error)) (*Lease, error) {
	began := s.tel.Now()
	l, err := get(ctx, key, req)
	if s.tel != nil {
		s.tel.Waited(ctx, key, began, mutex.RefusalClass(err))
	}
	return l, err
}

// dated is the parent of a lease that begins now. It carries when that was, where it is reported how long leases are held,
// so that no lease has to keep it otherwise.
func (s *Leases) dated(p parent) parent {
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
	if p, ok := l.parent.(datedParent); ok {
		s.tel.Held(l.t.key(), p.since, how)
	}
}

// reportLoss says that a lease was lost. It is called without a mutex.
func (s *Leases) reportLoss(t *renewal, reason string) {
	s.tel.Lost(t.key(), reasonClass(reason))
	s.c.Say(slog.LevelError, "lock lost", "key", t.key(), "token", t.hold.Token(), "reason", reason)
}

// observed is settle, with how close to the deadline it was called reported.
func (s *Leases) observed(t *renewal, settle func(mutex.Verdict)) func(mutex.Verdict) {
	if s.tel == nil {
		return settle
	}
	deadline := t.hold.Deadline()
	return func(v mutex.Verdict) {
		s.tel.Renewed(t.key(), cluster.Left(deadline, time.Now()), t.ttl, v.String())
		settle(v)
	}
}

// watch has the number of leases read when the metrics are collected.
func (s *Leases) watch() {
	s.unwatch = s.tel.Watch("", "", func(see telemetry.See) {
		s.renewer.mu.Lock()
		held := len(s.renewer.queue)
		s.renewer.mu.Unlock()
		see(telemetry.LockHeld, float64(held))
	})
}
