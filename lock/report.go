package lock

import (
	"errors"
	"strings"

	"github.com/venta-hq/redlock/internal/telemetry"
	"github.com/venta-hq/redlock/mutex"
)

// refusalClass is mutex.RefusalClass with what this package adds.
func refusalClass(err error) string {
	var held *NotAcquiredError
	switch {
	case errors.Is(err, ErrReentrant):
		return "reentrant"
	case errors.As(err, &held) && strings.HasPrefix(held.Reason, notWithin):
		return "timeout"
	}
	return mutex.RefusalClass(err)
}

// watch has what is counted here read when the metrics are collected.
func (k *Locker) watch() {
	k.unwatch = k.tel.Watch("", "", func(see telemetry.See) {
		k.mu.Lock()
		queue := 0
		for _, ln := range k.queues {
			queue += ln.waiting.Len()
		}
		k.mu.Unlock()
		see(telemetry.LockQueue, float64(queue))
		see(telemetry.LockHandOvers, float64(k.stats.handOvers.Load()))
		see(telemetry.LockReleaseFailures, float64(k.stats.releaseFailures.Load()))
	})
}
