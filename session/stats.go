package session

import (
	"errors"
	"sync/atomic"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/telemetry"
)

// Stats counts what a Store has done since [New]. List and FetchAll are not
// counted.
type Stats struct {
	Created   int64 // sessions created
	Loaded    int64 // sessions read, also for Update
	Committed int64 // writes to sessions
	Renewed   int64 // sessions that got a new id
	Destroyed int64 // calls of Destroy that succeeded, even if there was nothing to destroy
	Logouts   int64 // users logged out
	Gone      int64 // calls that failed because the session never existed or has ended
	Restored  int64 // sessions written again to a quorum of nodes before they were returned
	Failures  int64 // calls that failed otherwise, except for a bad argument
}

// counters are the current Stats.
type counters struct {
	created, loaded, committed, renewed, destroyed, logouts, gone, restored, failures atomic.Int64
}

// Stats returns the counts so far. They are not read at one instant.
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

// tally counts a call in what if it succeeded, and otherwise by its error. It
// returns err.
func (s *Store) tally(what *atomic.Int64, err error) error {
	switch {
	case err == nil:
		what.Add(1)
	case errors.Is(err, errOvertaken), errors.Is(err, cluster.ErrConfig): // will be retried; no node was asked
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
