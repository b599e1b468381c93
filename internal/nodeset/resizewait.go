package nodeset

import "time"

// resizeState is what the caller has waited for, and what its person has
// declared. A wait counts for one step: another resize may have finished that,
// and begun the next.
type resizeState struct {
	settled step          // a quarantine has passed since all nodes were seen to hold this step, which is final
	rolled  step          // no program has the old list of this step
	records time.Duration // how long a record may be left that was written under an earlier size; 0: not at all
	gone    bool          // the node that is removed cannot be reached, and never answers again
}

// settling is a wait until no grant under an earlier size is left.
type settling struct {
	at    step // that all nodes were seen to hold; zero: none
	since time.Time
}

// saw takes in what is to be done at now. A node that is brought to the step
// has granted under an earlier size until now.
func (s *settling) saw(plan resizePlan, now time.Time) {
	switch plan.kind {
	case resizeSettle:
		if s.at != plan.at {
			*s = settling{plan.at, now}
		}
	case resizePropose, resizeExpire:
	default:
		*s = settling{}
	}
}

// over is the step for which a quarantine has passed; zero for none.
func (s settling) over(now time.Time, quarantine time.Duration) step {
	if now.Sub(s.since) < quarantine {
		return step{}
	}
	return s.at
}
