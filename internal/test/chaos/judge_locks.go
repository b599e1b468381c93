//go:build unix

package chaos

import (
	"fmt"
	"slices"
	"time"
)

// givenOnce finds tokens that were issued to two acquisitions of one key, slots of all numbers included. Readers share
// tokens, also with the writer before them.
func givenOnce(h *history) (broken []string) {
	for key, held := range h.held() {
		first := map[int64]attempt{}
		for _, a := range held {
			if a.Reads {
				continue
			}
			if b, taken := first[a.Token]; taken {
				broken = append(broken, fmt.Sprintf("%s: %s has the token of %s", key, h.describe(a), h.describe(b)))
				continue
			}
			first[a.Token] = a
		}
	}
	return broken
}

// inOrder finds acquisitions whose token is not larger than that of an acquisition that had finished before they began.
// The tokens of a key with a limit are in order for each slot. A reader's token must not be smaller than that of a writer
// before it; readers among themselves are in no order, because one that joins others of its process has their token.
func inOrder(h *history) (broken []string) {
	for place, held := range h.heldBy(attempt.place) {
		finished := slices.Clone(held)
		sortBy(finished, func(a attempt) int64 { return a.Acquired })
		sortBy(held, func(a attempt) int64 { return a.Call })
		var writer, reader attempt // the newest of those that had finished
		for _, a := range held {
			for ; len(finished) > 0 && finished[0].Acquired < a.Call; finished = finished[1:] {
				newest := &writer
				if finished[0].Reads {
					newest = &reader
				}
				if finished[0].Token > newest.Token {
					*newest = finished[0]
				}
			}
			for _, before := range []attempt{writer, reader} {
				if h.outOfOrder(before, a) {
					broken = append(broken, fmt.Sprintf("%s: %s comes after %s", place, h.describe(a), h.describe(before)))
				}
			}
		}
	}
	return broken
}

// outOfOrder reports whether an attempt has too small a token, after one that had finished before it began. If exclusion
// was not promised to a reader and a writer, another reader may join the reader after the writer has acquired the key.
func (h *history) outOfOrder(before, a attempt) bool {
	switch {
	case a.Reads && (before.Reads || before.Token == a.Token):
		return false
	case a.Reads && h.letGo(before) && h.letGo(a):
		return false
	}
	return before.Token >= a.Token && !h.emptied(before.Call, a.Acquired)
}

// exclusive finds two clients that believed at the same time to hold a key or a slot, unless both read or one of them did
// not run at that time.
func exclusive(h *history) []string {
	broken, _ := h.overlaps()
	return broken
}

func (h *history) overlaps() (broken []string, excused int) {
	for key, held := range h.held() {
		eachBeside(held, func(a attempt, others []attempt) {
			for _, o := range others {
				switch {
				case !a.excludes(o):
				case h.stalledIn(o.Client, a.Acquired, a.Acquired) || h.stalledIn(a.Client, a.Acquired, a.Acquired) || h.letGo(o) && h.letGo(a):
					excused++
				default:
					broken = append(broken, fmt.Sprintf("%s: for %v both %s and %s", key,
						time.Duration(min(o.Until, a.Until)-a.Acquired), h.describe(o), h.describe(a)))
				}
			}
		})
	}
	return broken, excused
}

// guarded finds accesses that the store decided wrongly, stale reads, and lost updates.
func guarded(h *history) (broken []string) {
	records := map[string]record{}
	for _, a := range h.Accesses {
		r := records[a.Key]
		admits := r.admits(a.Token, a.Reads)
		switch {
		case a.Accepted && !admits:
			broken = append(broken, fmt.Sprintf("%s: at %s client %d was let in with token %d after %v", a.Key, h.ms(a.At), a.Client, a.Token, r.seen))
		case !a.Accepted && admits:
			broken = append(broken, fmt.Sprintf("%s: at %s client %d was refused with token %d after %v", a.Key, h.ms(a.At), a.Client, a.Token, r.seen))
		case a.Accepted && !a.Write && a.Version != r.version:
			broken = append(broken, fmt.Sprintf("%s: at %s client %d with token %d read version %d of %d",
				a.Key, h.ms(a.At), a.Client, a.Token, a.Version, r.version))
		case a.Accepted && a.Write && a.Base != r.version:
			broken = append(broken, fmt.Sprintf("%s: at %s client %d with token %d overwrote version %d, having read %d",
				a.Key, h.ms(a.At), a.Client, a.Token, r.version, a.Base))
		}
		if a.Accepted {
			r.take(a.Token, a.Reads, a.Write)
		}
		records[a.Key] = r
	}
	return broken
}

// explained finds errors that neither a fault nor a context explains.
func explained(h *history) []string {
	return h.odd(func(a attempt) bool { return !a.TimedOut })
}

// expected finds time-outs that neither a fault nor a context explains.
func expected(h *history) []string {
	return h.odd(func(a attempt) bool { return a.TimedOut })
}

func (h *history) odd(which func(attempt) bool) (broken []string) {
	for _, a := range h.Attempts {
		if a.Odd && which(a) {
			broken = append(broken, fmt.Sprintf("%s: %s: %s", a.Key, h.describe(a), a.Err))
		}
	}
	return broken
}

// recovered finds keys that a client could not acquire after the faults.
func recovered(h *history) (broken []string) {
	laps := 0
	for _, a := range h.Attempts {
		if a.Way != lastLap {
			continue
		}
		laps++
		if a.Acquired == 0 || a.Lost {
			broken = append(broken, fmt.Sprintf("%s: %s: %s", a.Key, h.describe(a), a.Err))
		}
	}
	if laps == 0 {
		broken = append(broken, "no client tried")
	}
	return broken
}

// unhindered finds stopped clients that slowed the others down. The keys of a stopped client have expired, but the
// nodes take it for a waiter: if they reserved a key for it at each release, the others would acquire that key only a
// few times a second. The others must acquire each hot key at least a quarter as often as while all clients run, and so
// they must those that readers share or that have slots. Short times are not judged, nor are runs with resizes: there,
// clients are killed while another is stopped, and their keys are free only after a TTL.
func unhindered(h *history) (broken []string) {
	if len(h.Resizes) > 0 {
		return nil
	}
	enough := map[string]int64{}
	for _, key := range hotKeys {
		enough[key] = int64(500 * time.Millisecond)
	}
	for _, key := range modeKeys {
		if !key.long {
			enough[key.name] = int64(time.Second) // they are acquired less often
		}
	}
	for key, enough := range enough {
		beside, without := h.besideStopped(key)
		if min(beside.lasted, without.lasted) >= enough && 4*beside.perSecond() < without.perSecond() {
			broken = append(broken, fmt.Sprintf("%s: acquired %.0f times a second in %v beside it, %.0f times in %v without it",
				key, beside.perSecond(), time.Duration(beside.lasted), without.perSecond(), time.Duration(without.lasted)))
		}
	}
	return broken
}

// rate counts acquisitions in a part of the run.
type rate struct {
	n      int
	lasted int64
}

func (r rate) perSecond() float64 { return float64(r.n) * float64(time.Second) / float64(r.lasted) }

// add counts how many times a key was acquired in a window of time.
func (r *rate) add(h *history, key string, from, to int64) {
	r.lasted += max(0, to-from)
	for _, a := range h.Attempts {
		if a.Key == key && from <= a.Acquired && a.Acquired < to {
			r.n++
		}
	}
}

// besideStopped returns how many times a key was acquired while a client was stopped and held nothing, and while all
// clients ran.
func (h *history) besideStopped(key string) (beside, without rate) {
	from := h.Start
	for _, s := range h.Stalls {
		if s.Halted && s.From >= from {
			without.add(h, key, from, s.From)
			beside.add(h, key, s.From+h.TTL+grace, s.To)
			from = s.To + grace
		}
	}
	end := from
	for _, a := range h.Attempts {
		if a.Way == lastLap && (end == from || a.Call < end) { // the traffic has ended
			end = a.Call
		}
	}
	without.add(h, key, from, end)
	return beside, without
}

// lively finds histories that prove nothing.
func lively(h *history) (broken []string) {
	t := h.tally()
	for what, n := range map[string]int{
		"acquisitions": t.acquired, "acquisitions while faults lasted": t.duringFaults, "keys that went from one client to another": t.takeovers,
		"faults": t.faults, "reads under a token": t.reads, "writes under a token": t.writes,
		"checkpoints": t.kept, "leaders": t.leaders,
		"readers beside those of another client": t.besideReaders, "keys whose slots were all held": t.full,
	} {
		if n == 0 {
			broken = append(broken, "no "+what)
		}
	}
	return broken
}
