package session

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// memories holds the memory of each node, as far as this process knows it.
type memories []atomic.Pointer[string]

func (m memories) of(n int) string {
	if p := m[n].Load(); p != nil {
		return *p
	}
	return ""
}

func (m memories) known() (n int) {
	for i := range m {
		if m[i].Load() != nil {
			n++
		}
	}
	return n
}

func (m memories) learn(n int, memory string) {
	if m.of(n) != memory {
		known := memory // on the heap only here
		m[n].Store(&known)
	}
}

// newMemory returns the suffix that distinguishes memories which begin at the
// same moment. It is "" if the question may not begin a memory.
func (s *Store) newMemory(q question) string {
	switch {
	case q.probe:
		return ""
	case s.bootstrapping.Load() && s.memories.known() < s.c.Quorum():
		return atBootstrap
	}
	s.bootstrapping.Store(false)
	return padded(rand.Uint64(), 16)
}

// atBootstrap is the suffix of memories that began while a quorum of nodes had
// none. All such memories count as equally old, whichever process began them,
// because a quorum has lost everything from before.
const atBootstrap = "0000000000000000"

// authoritative returns a function that reports whether the memory of a node
// decides about sessions that no node knows.
//
// If fewer than a quorum of N nodes lost a session, N/2+1 (one fewer if N is
// even) have kept their data since before it was issued. So a node still has
// everything about the session unless more nodes than the remaining ones may
// have an older memory. Nodes that never answered this process may have one. A
// memory that is older than every session has lost none.
//
// A node that a resize has added was told nothing of what was written before,
// and its memory may have begun together with others. So its mark must show that
// it is old as well.
func (s *Store) authoritative(now time.Time) func(a *answer) bool {
	return func(a *answer) bool {
		if n := s.c.Nodes()[a.node]; n.Added() && !n.Remembers(s.cfg.Lifetime+s.apart()) {
			return false
		}
		if micros(a.memory) <= now.Add(-s.cfg.Lifetime-s.apart()).UnixMicro() {
			return true
		}
		older := 0
		for i := range s.memories {
			if i != a.node && mayBeOlder(s.memories.of(i), a.memory, s.apart()) {
				older++
			}
		}
		return older <= len(s.memories)-cluster.Quorum(len(s.memories))
	}
}

// mayBeOlder reports whether memory may have begun before than, if clocks
// differ by at most apart. Memories that began with one quorumCall are equally
// old.
func mayBeOlder(memory, than string, apart time.Duration) bool {
	gap := micros(memory) - micros(than)
	if len(memory) >= versionWidth && len(than) >= versionWidth {
		a, b := memory[timeWidth:versionWidth], than[timeWidth:versionWidth]
		if a == b && (gap == 0 || a == atBootstrap && max(gap, -gap) <= apart.Microseconds()) {
			return false
		}
	}
	return gap <= apart.Microseconds()
}

// apart returns the largest clock skew between processes under which decisions
// that depend on clocks are correct.
func (s *Store) apart() time.Duration { return s.c.Config().MaxTTL }

// probe asks the nodes for their memories, before this process sends anything
// else, and records whether a quorum has none. It does not wait for nodes that
// cannot change the result.
func (s *Store) probe(ctx context.Context) error {
	if s.probed.Load() {
		return nil
	}
	select {
	case s.probing <- struct{}{}:
		defer func() { <-s.probing }()
	case <-ctx.Done():
		return errs.Ended(ctx)
	}
	if s.probed.Load() {
		return nil
	}
	now, nodes, quorum := time.Now(), len(s.memories), s.c.Quorum()
	p := s.newQuorumCall(question{script: loadScript, key: s.cfg.Prefix, args: touch(now, 0), now: now, probe: true})
	begun, none := 0, 0
	p.take = func(r reply) error {
		if r.memory == "" {
			none++
		} else {
			begun++
		}
		return nil
	}
	p.enough = func() bool { return begun > nodes-quorum || none >= quorum }
	if err := p.run(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.bootstrapping.Store(none >= quorum)
	s.probed.Store(begun+none >= quorum)
	return nil
}
