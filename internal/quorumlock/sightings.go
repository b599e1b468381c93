package quorumlock

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// sightings remembers, for a while, on which nodes scripts of this process have
// written the fence counters of keys, and which keys others wanted as well. It is
// bounded, and only a hint: one that is wrong costs a round trip.
type sightings struct {
	seed    maphash.Seed
	began   time.Time
	quarter time.Duration // of the time for which a sighting lasts

	mu       sync.Mutex
	now, old map[uint64]sighting // by hash of the lock key
}

// sighting is what is remembered of a key.
type sighting struct {
	nodes  uint64        // a bit for each
	period int64         // the number of the quarter in which it began
	from   time.Duration // since sightings.began: no transactions before
}

const (
	// maxSightings bounds each of the two maps: a full one replaces the older.
	maxSightings = 1 << 14
	// sightedFor is how many quarters a sighting lasts, counted from the start of the first.
	sightedFor = 3
	// contendedFor is how long after a refusal a key is acquired by script.
	contendedFor = 5 * time.Second
	// keptPart is the part of FenceRetention by which scripts keep a counter for
	// longer, since transactions do not renew its TTL. Sightings last that long.
	keptPart = 8
)

func newSightings(retention time.Duration) *sightings {
	return &sightings{seed: maphash.MakeSeed(), began: time.Now(), quarter: max(retention/keptPart/4, 1), now: map[uint64]sighting{}}
}

// keptLonger is how long scripts keep a counter.
func keptLonger(retention time.Duration) time.Duration { return retention + retention/keptPart }

func (s *sightings) since(at time.Time) time.Duration { return at.Sub(s.began) }
func (s *sightings) period(at time.Time) int64        { return int64(s.since(at) / s.quarter) }

// of is the nodes that a transaction may be sent to.
func (s *sightings) of(lock string, at time.Time) (nodes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.findLocked(maphash.String(s.seed, lock))
	if s.period(at)-one.period >= sightedFor || s.since(at) < one.from {
		return 0
	}
	return one.nodes
}

// wrote notes that a script wrote the counter on the node with that index, at or
// after at. A sighting is as old as the oldest of its nodes.
func (s *sightings) wrote(lock string, node int, at time.Time) {
	if node >= 64 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := maphash.String(s.seed, lock)
	one, period := s.findLocked(id), s.period(at)
	switch {
	case one.nodes == 0, period-one.period >= sightedFor:
		one.nodes, one.period = 1<<node, period
	case period < one.period || one.nodes>>node&1 == 1:
		return
	default:
		one.nodes |= 1 << node
	}
	s.putLocked(id, one)
}

// lost notes that the counter on the node with that index is not what scripts
// wrote: the next look asks the node by script.
func (s *sightings) lost(lock string, node int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := maphash.String(s.seed, lock)
	if one := s.findLocked(id); one.nodes != 0 {
		one.nodes &^= 1 << node
		s.putLocked(id, one)
	}
}

// refused notes that others want the key as well.
func (s *sightings) refused(lock string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(maphash.String(s.seed, lock), sighting{from: s.since(time.Now()) + contendedFor})
}

func (s *sightings) findLocked(id uint64) sighting {
	if one, ok := s.now[id]; ok {
		return one
	}
	return s.old[id]
}

func (s *sightings) putLocked(id uint64, one sighting) {
	if len(s.now) >= maxSightings {
		s.now, s.old = make(map[uint64]sighting), s.now
	}
	s.now[id] = one
}

// sight remembers what an answer to a script says of the next look at the key. A
// refusal by a hold of this process says nothing: it is about to be released. A
// fence below the floor is not remembered: until a node's memory is MaxTTL old,
// scripts start counters from the clock each time.
func (h *Hold) sight(n *nodeset.Node, granted bool, g grant) {
	rest, own := strings.CutPrefix(g.holder, h.r.words.process)
	switch {
	case granted && g.waiters == 0:
		if h.countsOn(n, g.fence) {
			h.r.sightings.wrote(h.lock, n.Index(), time.Now().Add(-h.r.c.Config().NodeTimeout))
		}
	case granted || !own || !strings.HasPrefix(rest, "/"):
		h.r.sightings.refused(h.lock)
	}
}
