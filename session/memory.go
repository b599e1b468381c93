package session

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// memories is what this process knows of when each node began to remember.
type memories []atomic.Pointer[string]

func (m memories) of(n int) string {
	if p := m[n].Load(); p != nil {
		return *p
	}
	return ""
}

func (m memories) learn(n int, memory string) {
	if m.of(n) != memory {
		m[n].Store(&memory)
	}
}

// elderUntil is the µs up to which a memory must have begun to be an elder's: one that has a say about sessions of
// which nothing is known.
//
// If fewer than a quorum of N nodes have forgotten a session, then N/2+1 (one fewer if N is even) have remembered since
// before it was issued, so the oldest that many, at least, have forgotten nothing of it. Nodes of a new set are all of
// one age, because one poll met them. Nodes that this process has never heard may be the oldest. And what is older than every session has forgotten none.
func (s *Store) elderUntil(now time.Time) int64 {
	nodes := len(s.memories)
	begun := make([]int64, nodes)
	for i := range begun {
		begun[i] = micros(s.memories.of(i))
	}
	slices.Sort(begun)
	oldest := begun[nodes-cluster.Quorum(nodes)]
	return max(oldest, now.Add(-s.cfg.Lifetime-s.apart()).UnixMicro())
}

// apart is how far the clocks of processes may be from each other where a decision depends on it.
func (s *Store) apart() time.Duration { return s.c.Config().MaxTTL }

// meet finds out which memory each node has that can be reached, so that the first write reaches all of them at once. It
// is done once; who comes meanwhile finds out for itself.
func (s *Store) meet(ctx context.Context) error {
	if s.met.Swap(true) {
		return nil
	}
	now := time.Now()
	p := s.newPoll(question{script: loadScript, key: s.cfg.Prefix, args: touch(now, 0), now: now})
	p.take = func(reply) error { return nil }
	p.enough = func() bool { return false }
	return p.run(ctx)
}
