package session

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// confirm puts tombstones on a quorum for a session that one node reports as
// ended, and returns the *GoneError.
func (s *Store) confirm(ctx context.Context, op, hashed, deadline string) error {
	if err := s.tombstone(ctx, op, hashed, deadline); err != nil {
		return err
	}
	return s.gone(op, hashed)
}

// deadlineOf returns the latest time at which a session can end. live is nil if
// only a tombstone is known.
func (s *Store) deadlineOf(live *record) string {
	if live == nil {
		return stamp(time.Now().Add(s.cfg.Lifetime).UnixMicro())
	}
	return live.deadline
}

// tombstone puts tombstones on a quorum.
func (s *Store) tombstone(ctx context.Context, op, hashed, deadline string) error {
	c, failed, err := s.write(ctx, s.tombstoneQuestion(hashed, deadline))
	switch {
	case err != nil:
		return s.wrap(op, hashed, err)
	case c.ok < s.c.Quorum():
		return s.noQuorum(op, hashed, c.ok, failed)
	}
	return nil
}

func (s *Store) tombstoneQuestion(hashed, deadline string) question {
	return question{script: tombstoneScript, key: s.cfg.Prefix + hashed, args: []any{hashed, deadline}, now: time.Now(), write: true}
}

// dispose sends tombstones for a session that a failed attempt may have left
// behind, and does not wait. It skips nodes whose memory is unknown, because
// they have written nothing. If alone is true, the session was to be the only
// one of its user, and concedes to its rivals.
func (s *Store) dispose(hashed, deadline string, alone bool) {
	q := s.tombstoneQuestion(hashed, deadline)
	if alone {
		q.args = append(q.args, "concede")
	}
	common := s.common(q)
	for _, n := range s.c.Nodes() {
		if memory := s.memories.of(n.Index()); memory != "" {
			s.send(n, q, common, n.MemoryID(), memory, nil)
		}
	}
}

// Destroy ends the session with this id or handle. After it has returned nil,
// the session is never read again, and no write brings it back. A session that
// does not exist is no error. The error is a [*cluster.QuorumError] or has
// ctx.Err() in its chain; in both cases the session may still exist.
func (s *Store) Destroy(ctx context.Context, idOrHandle string) error {
	if s == nil {
		return errNil
	}
	hashed, ok := target(idOrHandle)
	if !ok {
		return nil
	}
	return s.tally(&s.counts.destroyed, s.destroy(ctx, hashed))
}

// maxSuccessors bounds how many renewals of a session Destroy follows, because
// a faulty node may report any number.
const maxSuccessors = 100

// destroy ends a session and its successors, because a caller with an old id
// means the current session.
func (s *Store) destroy(ctx context.Context, hashed string) error {
	for range maxSuccessors {
		next, err := s.end(ctx, hashed)
		if next == "" || err != nil {
			return err
		}
		hashed = next
	}
	return s.wrap("destroy", hashed, fmt.Errorf("it was renewed more than %d times", maxSuccessors))
}

// end puts tombstones on the nodes that have the session, and returns the
// session that has replaced it. Nodes without the session get a tombstone only
// if another node has the session: otherwise invented ids could fill the nodes
// with tombstones.
func (s *Store) end(ctx context.Context, hashed string) (next string, err error) {
	quorum := s.c.Quorum()
	w := s.newWrite(s.tombstoneQuestion(hashed, ""))
	w.enough = func() bool { return w.count.ok >= quorum || w.count.ok == 0 && s.never(w.count.none) >= quorum }
	c, failed, err := w.wait(ctx)
	switch {
	case err != nil:
		return "", s.wrap("destroy", hashed, err)
	case c.ok >= quorum:
	case c.ok > 0:
		if err := s.tombstone(ctx, "destroy", hashed, cmp.Or(c.deadline, s.deadlineOf(nil))); err != nil {
			return "", err
		}
	case s.never(c.none) < quorum && len(c.none) < len(s.c.Nodes()):
		return "", s.noQuorum("destroy", hashed, s.never(c.none), failed)
	}
	return c.next, nil
}

// never returns how many nodes without the session can deny that it exists.
func (s *Store) never(none []answer) int {
	v := s.judge(none, time.Now())
	return v.votes
}
