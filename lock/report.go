package lock

import (
	"errors"

	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/telemetry"
)

// refusalClass is [quorumlock.RefusalClass] and the class of [ErrReentrant].
func refusalClass(err error) string {
	if errors.Is(err, ErrReentrant) {
		return "reentrant"
	}
	return quorumlock.RefusalClass(err)
}

// watch reports the counts of this package whenever metrics are collected.
func (k *Locker) watch() {
	k.unwatch = k.tel.Watch("", "", func(see telemetry.See) {
		s := k.engine().Stats()
		see(telemetry.LockQueue, float64(s.Queued))
		see(telemetry.LockHandOvers, float64(s.HandOvers))
		see(telemetry.LockReleaseFailures, float64(k.stats.releaseFailures.Load()))
	})
}
