//go:build unix

package chaos

import (
	"fmt"
	"time"
)

// idle returns how long a resize may pass without any acquisition. A killed client keeps the hot keys for a TTL, and
// clients need some time to reach nodes again after a fault.
func (h *history) idle() int64 { return h.TTL + int64(recovery) }

// unbroken finds times during a resize in which no client acquired anything, although a quorum of nodes was left.
func unbroken(h *history) (broken []string) {
	for _, r := range h.Resizes {
		busy := []span{{From: r.To, To: r.To}}
		for _, a := range h.Attempts {
			if a.Acquired >= r.From && a.Acquired < r.To {
				busy = append(busy, span{From: a.Acquired, To: a.Acquired})
			}
		}
		for _, f := range h.Faults {
			if f.Outage {
				busy = append(busy, span{From: f.From, To: f.To + int64(recovery)})
			}
		}
		sortBy(busy, func(s span) int64 { return s.From })
		from := r.From
		for _, s := range busy {
			if gap := min(s.From, r.To) - from; gap > h.idle() {
				broken = append(broken, fmt.Sprintf("%s: from %s on nobody acquired anything for %v", r.Name, h.ms(from), time.Duration(gap)))
			}
			from = max(from, s.To)
		}
	}
	return broken
}
