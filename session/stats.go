package session

import (
	"errors"
	"sync/atomic"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/telemetry"
)

// Stats counts what a Store did since New. List and FetchAll are not counted.
type Stats struct {
	Created   int64 // sessions made
	Loaded    int64 // sessions read, also for Update
	Committed int64 // writes to sessions
	Renewed   int64 // sessions that were given a new id
	Destroyed int64 // calls of Destroy that succeeded, also where there was nothing to destroy
	Logouts   int64 // users logged out
	Gone      int64 // of all calls: sessions that have never been, or are over
	Restored  int64 // sessions brought back to a quorum of nodes before they were given out
	Failures  int64 // of all calls: failed otherwise, other than by a bad argument
}

// counters are Stats in the making.
type counters struct {
	created, loaded, committed, renewed, destroyed, logouts, gone, restored, failures atomic.Int64
}

// Stats may be called at any time; the numbers are not taken at one instant.
func (s *Store) Stats() Stats {
	if s == nil {
		return Stats{}
	}
	n := &s.counts
	return Stats{
		Created: n.created.Load(), Loaded: n.loaded.Load(), Committed: n.committed.Load(), Renewed: n.renewed.Load(),
		Destroyed: n.destroyed.Load(), Logouts: n.logouts.Load(), Gone: n.gone.Load(), Restored: n.restored.Load(),
		Failures: n.failures.Load(),
	}
}

// tally counts a call that ended with err as one of what, or as a failure, and
// returns err.
func (s *Store) tally(what *atomic.Int64, err error) error {
	switch {
	case err == nil:
		what.Add(1)
	case errors.Is(err, errOvertaken), errors.Is(err, cluster.ErrConfig): // is tried again; asked for nothing
	case isGone(err):
		s.counts.gone.Add(1)
	default:
		s.counts.failures.Add(1)
	}
	return err
}

// watch reports the Stats whenever metrics are collected, until Close.
func (s *Store) watch() {
	s.unwatch = s.c.Telemetry().Watch(telemetry.SessionsPrefix, s.cfg.Prefix, func(see telemetry.See) {
		n := s.Stats()
		see(telemetry.SessionCreated, float64(n.Created))
		see(telemetry.SessionLoaded, float64(n.Loaded))
		see(telemetry.SessionCommitted, float64(n.Committed))
		see(telemetry.SessionRenewed, float64(n.Renewed))
		see(telemetry.SessionDestroyed, float64(n.Destroyed))
		see(telemetry.SessionLogouts, float64(n.Logouts))
		see(telemetry.SessionGone, float64(n.Gone))
		see(telemetry.SessionRestored, float64(n.Restored))
		see(telemetry.SessionFailures, float64(n.Failures))
	})
}
