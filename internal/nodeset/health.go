package nodeset

import (
	"sync"
	"time"
)

// Health says whether anything can be locked, as far as this process sees.
type Health struct {
	// Err is why nothing can be locked, a *QuorumError, and ErrClosed after
	// Close. It is nil while something can be locked.
	Err   error
	Since time.Time // since when; zero while Err is nil, and after Close
	Spare int       // voting nodes beyond a quorum; negative if they are fewer
}

// health records since when nothing can be locked. A single late answer changes
// nothing: a quorum is gone when too few nodes are up and vote, and an attempt
// counts only if it found no quorum.
type health struct {
	mu      sync.Mutex
	gone    time.Time // since when too few nodes vote; zero while enough do
	refused time.Time // since when every attempt to acquire found no quorum
	last    time.Time // when the last of them ended
	why     error     // its error
}

// Attempted notes how an attempt to acquire a key ended: err is a
// [*QuorumError] if no quorum decided, and nil if one did, for the caller or
// against it.
func (c *Set) Attempted(err error) {
	h := &c.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.refused, h.last, h.why = time.Time{}, time.Time{}, nil
		return
	}
	now := time.Now()
	if now.Sub(h.last) > c.cfg.MaxTTL { // what was before is too long ago to go on
		h.refused = now
	}
	h.last, h.why = now, err
}

// noteQuorum notes how many nodes vote beyond a quorum, and returns since when
// they are too few.
func (c *Set) noteQuorum(spare int) (gone time.Time) {
	h := &c.health
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case spare >= 0:
		h.gone = time.Time{}
	case h.gone.IsZero():
		h.gone = time.Now()
	}
	return h.gone
}

// Health returns what is known without asking the nodes. Nothing can be locked
// if too few of them are up and vote, or if every recent attempt to acquire a
// key has found no quorum, as when all nodes are out of memory. An attempt is
// recent for MaxTTL.
func (c *Set) Health() Health {
	if err := c.Err(); err != nil {
		return Health{Err: err}
	}
	h := Health{Spare: c.spare()}
	h.Since = c.noteQuorum(h.Spare)
	if !h.Since.IsZero() {
		h.Err = c.missing()
	}
	s := &c.health
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused := s.why != nil && time.Since(s.last) <= c.cfg.MaxTTL; !refused {
		return h
	}
	if h.Err == nil || s.refused.Before(h.Since) {
		h.Since = s.refused
	}
	if h.Err == nil {
		h.Err = s.why
	}
	return h
}

// missing says which nodes a quorum lacks.
func (c *Set) missing() *QuorumError {
	all := c.Status()
	e := &QuorumError{Op: "lock", Need: c.Quorum()}
	for _, s := range all {
		switch {
		case !s.Up:
			e.Nodes = append(e.Nodes, NodeError{s.Node, s.Err})
		case s.Votes:
			e.Got++
		default:
			e.NotVoting++
		}
	}
	e.VotesIn = max(quorumIn(all, e.Need), 0)
	return e
}
