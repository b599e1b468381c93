//go:build unix

package chaos

import "slices"

// tally is the summary of a history.
type tally struct {
	attempts, acquired, lost, takeovers, faults, duringFaults int
	reads, writes, refused                                    int
	stalls                                                    int
	kept, resumed, leaders                                    int
	shared, slots                                             int // acquired to read, and with a limit
	besideReaders, full                                       int // beside a reader of another client, and as the last free slot
}

func (h *history) tally() tally {
	t := tally{attempts: len(h.Attempts), faults: len(h.Faults), stalls: len(h.Stalls)}
	for _, held := range h.held() {
		eachBeside(held, t.addBeside)
	}
	for _, held := range h.heldBy(attempt.place) {
		sortBy(held, func(a attempt) int64 { return a.Token })
		for i, a := range held {
			t.addHold(a)
			if i > 0 && held[i-1].Client != a.Client {
				t.takeovers++
			}
			if h.acquiredDuringFault(a) {
				t.duringFaults++
			}
		}
	}
	for _, d := range h.Deposits {
		if d.Kept {
			t.kept++
		}
	}
	for _, a := range h.Accesses {
		t.addAccess(a)
	}
	return t
}

func (t *tally) addHold(a attempt) {
	t.acquired++
	if a.Way == "campaign" {
		t.leaders++
	}
	if a.Found != (version{}) {
		t.resumed++
	}
	if a.Lost {
		t.lost++
	}
	if a.Reads {
		t.shared++
	}
	if a.Limit > 0 {
		t.slots++
	}
}

// addBeside counts an acquisition beside the others that held the key then.
func (t *tally) addBeside(a attempt, others []attempt) {
	if a.Reads && slices.ContainsFunc(others, func(o attempt) bool { return o.Reads && o.Client != a.Client }) {
		t.besideReaders++
	}
	if a.Limit > 0 && len(others)+1 >= a.Limit {
		t.full++
	}
}

func (t *tally) addAccess(a access) {
	switch {
	case !a.Accepted:
		t.refused++
	case a.Write:
		t.writes++
	default:
		t.reads++
	}
}

// acquiredDuringFault reports whether some fault lasted from before the call to
// after the acquisition.
func (h *history) acquiredDuringFault(a attempt) bool {
	return slices.ContainsFunc(h.Faults, func(f span) bool { return f.From <= a.Call && a.Acquired <= f.To })
}

func (t *tally) add(o tally) {
	t.attempts += o.attempts
	t.acquired += o.acquired
	t.lost += o.lost
	t.takeovers += o.takeovers
	t.faults += o.faults
	t.duringFaults += o.duringFaults
	t.reads += o.reads
	t.writes += o.writes
	t.refused += o.refused
	t.stalls += o.stalls
	t.kept += o.kept
	t.resumed += o.resumed
	t.leaders += o.leaders
	t.shared += o.shared
	t.slots += o.slots
	t.besideReaders += o.besideReaders
	t.full += o.full
}
