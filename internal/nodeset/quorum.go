package nodeset

import (
	"slices"
	"time"
)

// Quorum is the number of nodes, of n, whose agreement decides unless Config.Quorum says otherwise: a strict majority. Any
// two quorums share a node.
func Quorum(n int) int { return n/2 + 1 }

// Margin is subtracted from a TTL before it is relied upon: 1 % for clocks that
// run at different rates, and 2 ms for the precision of a node's expiry.
func Margin(ttl time.Duration) time.Duration { return ttl/100 + 2*time.Millisecond }

// Deadline is the moment up to which a grant of ttl may be relied upon when its request left at start or later.
// A node counts the TTL from when the request arrived, which is after start, so the key outlives the deadline.
func Deadline(start time.Time, ttl time.Duration) time.Time { return start.Add(ttl - Margin(ttl)) }

// Passed reports whether deadline is over at now by either clock. A machine that was suspended has a wall clock far
// ahead of its monotonic one; the nodes did not sleep, so the wall clock is right then. A wall clock that was set back
// does not revive a deadline that the monotonic clock has passed.
func Passed(deadline, now time.Time) bool {
	return !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0))
}

// Left is how long deadline is still good for at now, by the clock that says less. It is negative once Passed.
func Left(deadline, now time.Time) time.Duration {
	return min(deadline.Sub(now), deadline.Round(0).Sub(now.Round(0)))
}

// QuorumIn is how long until a quorum of nodes votes, if those that are up stay so: 0 if one votes now, negative if too few
// are up.
func (c *Set) QuorumIn() time.Duration { return quorumIn(c.Status(), c.Quorum()) }

func quorumIn(all []Status, quorum int) time.Duration {
	var waits []time.Duration
	for _, s := range all {
		if s.Up {
			waits = append(waits, max(s.VotesIn, 0))
		}
	}
	if len(waits) < quorum {
		return -1
	}
	slices.Sort(waits)
	return waits[quorum-1]
}
