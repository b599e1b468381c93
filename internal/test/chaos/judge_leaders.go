//go:build unix

package chaos

import (
	"fmt"
	"time"
)

// orderly finds wrong leaders: unknown ones, leaders that an observer saw after a newer one, and leaders returned by a
// query that began after a newer one led.
func orderly(h *history) (broken []string) {
	reigns := map[int64]attempt{}
	for _, a := range h.held()[electionKey] {
		reigns[a.Token] = a
	}
	newest := map[int]int64{} // by observer
	for _, s := range h.Sightings {
		if s.Token == 0 {
			continue
		}
		who := fmt.Sprintf("client %d saw %q with token %d at %s", s.Client, s.Candidate, s.Token, h.ms(s.At))
		if !h.campaigned(s, reigns) {
			broken = append(broken, who+", who did not campaign")
		}
		if s.Asked == 0 {
			if s.Token < newest[s.Client] {
				broken = append(broken, fmt.Sprintf("%s, after %d", who, newest[s.Client]))
			}
			newest[s.Client] = s.Token
			continue
		}
		for _, a := range reigns {
			if a.Acquired < s.Asked && a.Token > s.Token {
				broken = append(broken, fmt.Sprintf("%s, asked at %s, after %s", who, h.ms(s.Asked), h.describe(a)))
			}
		}
	}
	return broken
}

// campaigned reports whether the leader that was seen is a client that led, or that was killed before it could report
// so.
func (h *history) campaigned(s sighting, reigns map[int64]attempt) bool {
	if a, ok := reigns[s.Token]; ok {
		return a.Candidate == s.Candidate && a.Call < s.At
	}
	for _, a := range h.Attempts {
		if a.Key == electionKey && a.Acquired == 0 && a.Candidate == s.Candidate && a.Call < s.At {
			return true
		}
	}
	return false
}

// observed finds leaders that an observer should have seen: those that led long enough without a fault, and the last
// one.
func observed(h *history) (broken []string) {
	seen := map[[2]int64]bool{} // client, token
	for _, s := range h.Sightings {
		if s.Asked == 0 {
			seen[[2]int64{int64(s.Client), s.Token}] = true
		}
	}
	last := 0
	for _, a := range h.held()[electionKey] {
		if a.Candidate == lastCandidate {
			last++
		}
		for _, w := range h.Watches {
			must := a.Candidate == lastCandidate && w.To > a.Acquired || h.calm(w, a) > h.TTL+int64(settled)
			if must && !seen[[2]int64{int64(w.Client), a.Token}] {
				broken = append(broken, fmt.Sprintf("client %d did not see %q lead, %s", w.Client, a.Candidate, h.describe(a)))
			}
		}
	}
	if last == 0 {
		broken = append(broken, "the last candidate did not lead")
	}
	return broken
}

// An observer usually sees a leader at once. If it misses the notification, it looks again after the TTL; settled is
// the additional time that it may need. recovery is how long after a fault all connections may take to recover.
const (
	settled  = 1500 * time.Millisecond
	recovery = time.Second
)

// calm returns the longest time without a fault in which w observed and a led.
func (h *history) calm(w watch, a attempt) (longest int64) {
	from, to := max(w.From, a.Acquired), min(w.To, a.Until)
	var rough []span
	for _, f := range h.Faults {
		rough = append(rough, span{From: f.From, To: f.To + int64(recovery)})
	}
	for _, s := range h.Stalls {
		if s.Client == w.Client {
			rough = append(rough, span{From: s.From, To: s.To + grace})
		}
	}
	sortBy(rough, func(s span) int64 { return s.From })
	for _, r := range append(rough, span{From: to, To: to}) {
		longest = max(longest, min(r.From, to)-from)
		from = max(from, r.To)
	}
	return longest
}
