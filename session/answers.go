package session

import (
	"slices"
	"time"
)

// answer is what one node reported about a session.
type answer struct {
	node   int
	memory string  // the node's memory: see newMemory
	epoch  version // version at which the user was logged out everywhere, if the node has the session
	record *record // nil: the node has none
}

// whole reports whether the node has everything that was written to it about
// this session, because the whole record was written there since the node's
// memory began.
func (a *answer) whole() bool { return a.record != nil && a.record.whole }

// checkEpoch returns an error if epoch cannot be the version at which a user
// was logged out everywhere. "" means none, and is no error.
func checkEpoch(epoch version, now time.Time) error {
	if epoch == "" {
		return nil
	}
	return checkVersion(epoch, latest(now))
}

// verdict is the combined result of the answers about one session.
type verdict struct {
	votes      int     // answers of nodes that vote
	tombstones int     // nodes with a tombstone
	tombstone  *record // one of the tombstones, one with the successor if there is one
	live       *record // the merged records of the nodes without a tombstone, or nil
	epoch      version
	floors     []version // the different floors of the whole records
}

// judge combines answers. A node that lost its data cannot deny a session: it
// votes only if the session was issued after its memory began, or if it is
// authoritative, which means that no session that a quorum still has can be
// older than its memory. apart is the largest difference between the clocks of
// processes.
func judge(answers []answer, authoritative func(a *answer) bool, apart time.Duration) verdict {
	var v verdict
	for i := range answers {
		a := &answers[i]
		v.epoch = max(v.epoch, a.epoch)
		switch {
		case a.record == nil:
		case a.record.gone:
			v.tombstones++
			if v.tombstone == nil || a.record.to != "" {
				v.tombstone = a.record
			}
		case a.record.whole:
			v.live = merge(v.live, a.record)
			if floor := a.record.floor(); !slices.Contains(v.floors, floor) {
				v.floors = append(v.floors, floor)
			}
		}
	}
	whole := v.live
	for i := range answers { // a field of a record that is not whole may have been deleted, and its tombstone dropped
		if a := &answers[i]; a.record != nil && !a.record.gone && !a.record.whole {
			v.live = merge(v.live, a.record.above(whole.floor()))
		}
	}
	for i := range answers {
		if answers[i].counts(v.live, authoritative, apart) {
			v.votes++
		}
	}
	return v
}

// counts reports whether a node votes.
func (a *answer) counts(live *record, authoritative func(a *answer) bool, apart time.Duration) bool {
	if a.record != nil {
		return a.record.gone || a.whole()
	}
	return authoritative(a) || live != nil && micros(live.born) > micros(a.memory)+apart.Microseconds()
}

// ended reports whether the session has been ended.
func (v *verdict) ended() bool { return v.tombstones > 0 || v.live != nil && v.epoch > v.live.issue }

// mixed reports whether some nodes have dropped fields that others have not
// dropped.
func (v *verdict) mixed() bool { return len(v.floors) > 1 && !v.ended() }

// lagging reports whether the node that sent a lacks a part of live.
func (a *answer) lagging(live *record) bool { return !a.whole() || !a.record.equal(live) }
