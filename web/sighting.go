package web

import (
	"time"

	"github.com/venta-hq/redlock/lock"
)

// sighting is a lock that a listing found held. Nodes do not say why a key is
// gone, so its end is worked out: a key that is gone before its TTL was over was
// deleted, and a lease that was not renewed in time is lost.
type sighting struct {
	lock.Inspection
	at   time.Time     // before the nodes answered
	term time.Duration // the longest time left that was seen of this hold
}

// sightingOf is the sighting after was, by a listing that began at this time.
func sightingOf(i lock.Inspection, was sighting, began time.Time) sighting {
	s := sighting{i, began, i.Left}
	if was.Holder == i.Holder {
		s.term = max(s.term, was.term)
	}
	return s
}

// end is how the hold ended, which was seen for the last time and is gone now.
// Only holders of this library renew their locks, and not all of those: nothing
// renews a mutex.
func (s sighting) end(now time.Time, voters map[string]bool) event {
	holder := s.Holder.String()
	switch {
	case s.Holder.Writer == lock.WriterForced:
		return event{Kind: free, Text: "others can acquire it, after it was taken away from its holder"}
	case s.Holder.Writer != lock.WriterForeign && s.expiresAfter(s.Left, now) && s.witnesses(now, voters) >= s.Need:
		return event{Kind: released, Text: "before its TTL was over; held by " + holder}
	case s.Holder.Writer == lock.WriterRedlock && !s.expiresAfter(s.Left, now) && s.overdue():
		return event{Kind: unrenewed, Text: "before its TTL was over; held by " + holder}
	}
	return event{Kind: gone, Text: "released or expired; held by " + holder}
}

// expiresAfter reports whether a key that had this time left cannot have expired
// by now. A negative time left means that it never does.
func (s sighting) expiresAfter(left time.Duration, now time.Time) bool {
	return left < 0 || now.Before(s.at.Add(left))
}

// overdue reports whether a renewal was due when the hold was seen for the last
// time. Leases are renewed before half of their TTL is over.
func (s sighting) overdue() bool { return s.Left >= 0 && 2*s.Left < s.term }

// witnesses is how many nodes had the key and are among the voters. A node votes
// only while it has kept its data for longer than any TTL, so only a deletion took
// the key from these.
func (s sighting) witnesses(now time.Time, voters map[string]bool) (n int) {
	for _, v := range s.Views {
		if v.Err == nil && v.Holder == s.Holder && voters[v.Node] && s.expiresAfter(v.Left, now) {
			n++
		}
	}
	return n
}
