package quorumlock

import "time"

// SetLockDelay has the nodes keep every key for d longer than its holder may
// rely on it, unless it is released. It is called before r is used. A TTL and d
// must not exceed the set's MaxTTL.
func (r *Redlock) SetLockDelay(d time.Duration) { r.delay = d }

// keptFor is how long, in ms, nodes keep a key whose TTL is ttl.
func (r *Redlock) keptFor(ttl time.Duration) int64 { return millis(ttl + r.delay) }

// Forgo ends a hold that was lost without giving anything back: the keys
// expire.
func (h *Hold) Forgo(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phase == phaseHeld {
		h.phase, h.err = phaseFailed, why
		h.endRoundLocked()
	}
}
