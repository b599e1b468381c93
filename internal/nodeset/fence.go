package nodeset

import (
	"fmt"
	"log/slog"
	"time"
)

// MaxFenceLead is how far a clock of a node, or a fence counter on it, may lie
// ahead of a client's clock, in addition to Config.MaxTTL. Fence counters start
// from the clock and soon fall far behind it, so a counter that is further
// ahead is broken or was tampered with. If it counted, it would raise the
// counters of all nodes for good.
const MaxFenceLead = 24 * time.Hour

// fenceReport is the last grant of a node that did not count because of its
// fence, or that the node refused because of it.
type fenceReport struct {
	key   string
	ahead time.Duration // 0: refused
	at    time.Time
}

// FenceAhead records that n granted key under a fence counter that lies so far
// ahead of this machine's clock that the grant does not count. It is logged,
// and Check reports it for an hour.
func (n *Node) FenceAhead(key string, ahead time.Duration) {
	n.fence.Store(&fenceReport{key, ahead, time.Now()})
	n.c.sayOf(n, slog.LevelError, "fence counter beyond the clock; the node's grants of this key do not count",
		"key", key, "ahead", ahead.Round(time.Second))
}

// FenceUnusable records that n refuses to grant key because its fence counter
// cannot be raised: it is not a number, or close to 2^53. It is logged, and
// Check reports it for an hour.
func (n *Node) FenceUnusable(key string) {
	n.fence.Store(&fenceReport{key: key, at: time.Now()})
	n.c.sayOf(n, slog.LevelError, "fence counter cannot be raised; the node grants this key to nobody", "key", key)
}

// checkFence is what Check says of a node's fence counters.
func (n *Node) checkFence(now time.Time) (text, fix string, found bool) {
	r := n.fence.Load()
	if r == nil || now.Sub(r.at) > time.Hour {
		return "", "", false
	}
	if r.ahead == 0 {
		return fmt.Sprintf("its fence counter of %q cannot be raised, so it grants that key to nobody", r.key),
			"run redlock nodes --repair-fences PREFIX", true
	}
	return fmt.Sprintf("its fence counter of %q lies %v ahead of this machine's clock, so its grants of that key do not count", r.key, r.ahead.Round(time.Second)),
		"set the clocks right, then run redlock nodes --repair-fences PREFIX", true
}
