//go:build unix

package chaos

import (
	"fmt"
	"time"
)

// idle is for how long no client may acquire anything in a resize: a client that was killed while it had the keys that everybody
// wants has them for a TTL, and those that noticed a fault of their nodes reach them again.
func (h *history) idle() int64 { return h.TTL + int64(recovery) }

// unbroken finds times in a resize in which no client acquired anything, though no fault had left too few nodes.
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
