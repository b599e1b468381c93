package cache

import (
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/telemetry"
)

// Stats counts what a Cache did since New.
type Stats struct {
	Hits        int64         // served from a node
	NearHits    int64         // served from this process's memory
	Negative    int64         // of both: served that there is no such thing
	Stale       int64         // served after its TTL, because a load failed
	Misses      int64         // not there
	Loads       int64         // loads that were run
	LoadErrors  int64         // of them: failed, other than by ErrNotFound
	LoadTime    time.Duration // of all loads together
	Refreshes   int64         // of the loads: in the background, while an entry was served
	Waits       int64         // waits for a load of another process or call
	Refused     int64         // fills that were not stored, because their lease stood no longer
	Unleased    int64         // loads without a lease, because no node was reached or the wait was too long
	Undecodable int64         // entries that could not be decoded
	Unencodable int64         // loaded values that the codec refused
	TooLarge    int64         // loaded values above Config.MaxValue
	StandIns    int64         // questions to the node that stands in for a key's owner
	Owed        int64         // deletions that a node was not reached with at once
}

// counters are Stats in the making.
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

// see reports s.
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
