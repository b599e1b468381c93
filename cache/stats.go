package cache

import (
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/telemetry"
)

// Stats counts what a Cache has done since [New].
type Stats struct {
	Hits        int64         // served from a node
	NearHits    int64         // served from this process's memory
	Negative    int64         // of both: served ErrNotFound
	Stale       int64         // served after its TTL, because a load failed
	Misses      int64         // found no entry
	Loads       int64         // loads
	LoadErrors  int64         // of the loads: failed, except with ErrNotFound
	LoadTime    time.Duration // of all loads together
	Refreshes   int64         // of the loads: in the background, while an entry was served
	Waits       int64         // waits for a load of another process or call
	Refused     int64         // values that were not stored because their lease had ended
	Unleased    int64         // loads without a lease, because no node was reached or the wait was too long
	Undecodable int64         // entries that could not be decoded
	Unencodable int64         // loaded values that the codec refused
	TooLarge    int64         // loaded values above Config.MaxValue
	StandIns    int64         // requests to a stand-in
	Owed        int64         // deletions that became pending because a node was not reached
}

// counters are the current Stats.
type counters struct {
	hits, nearHits, negative, stale, misses, loads, loadErrors, loadTime, refreshes, waits, refused, unleased, undecodable,
	unencodable, tooLarge, standIns, owed atomic.Int64
}

func (c *counters) snapshot() Stats {
	return Stats{
		Hits: c.hits.Load(), NearHits: c.nearHits.Load(), Negative: c.negative.Load(), Stale: c.stale.Load(),
		Misses: c.misses.Load(), Loads: c.loads.Load(), LoadErrors: c.loadErrors.Load(),
		LoadTime: time.Duration(c.loadTime.Load()), Refreshes: c.refreshes.Load(), Waits: c.waits.Load(),
		Refused: c.refused.Load(), Unleased: c.unleased.Load(), Undecodable: c.undecodable.Load(),
		Unencodable: c.unencodable.Load(), TooLarge: c.tooLarge.Load(), StandIns: c.standIns.Load(), Owed: c.owed.Load(),
	}
}

// see passes each count of s to a metrics callback.
func (s Stats) see(see telemetry.See) {
	see(telemetry.CacheHits, float64(s.Hits))
	see(telemetry.CacheNearHits, float64(s.NearHits))
	see(telemetry.CacheNegative, float64(s.Negative))
	see(telemetry.CacheStale, float64(s.Stale))
	see(telemetry.CacheMisses, float64(s.Misses))
	see(telemetry.CacheLoads, float64(s.Loads))
	see(telemetry.CacheLoadErrors, float64(s.LoadErrors))
	see(telemetry.CacheLoadTime, s.LoadTime.Seconds())
	see(telemetry.CacheRefreshes, float64(s.Refreshes))
	see(telemetry.CacheWaits, float64(s.Waits))
	see(telemetry.CacheRefused, float64(s.Refused))
	see(telemetry.CacheUnleased, float64(s.Unleased))
	see(telemetry.CacheUndecodable, float64(s.Undecodable))
	see(telemetry.CacheUnencodable, float64(s.Unencodable))
	see(telemetry.CacheTooLarge, float64(s.TooLarge))
	see(telemetry.CacheStandIns, float64(s.StandIns))
	see(telemetry.CacheOwed, float64(s.Owed))
}
