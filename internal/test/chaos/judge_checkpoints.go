//go:build unix

package chaos

import "fmt"

// forgot is how many nodes may have lost what they were told since then, when they were asked at t.
func (h *history) forgot(since, t int64) int {
	nodes := map[int]bool{}
	for _, f := range h.Faults {
		if f.From <= t && since <= f.To {
			for _, n := range f.Forgets {
				nodes[n] = true
			}
		}
	}
	return len(nodes)
}

// resumed returns the acquisitions that looked for a checkpoint, by key, in the order of their tokens.
func (h *history) resumed() map[string][]attempt {
	byKey := map[string][]attempt{}
	for key, held := range h.held() {
		for _, a := range held {
			if a.Resumed {
				byKey[key] = append(byKey[key], a)
			}
		}
		sortBy(byKey[key], func(a attempt) int64 { return a.Token })
	}
	return byKey
}

func (h *history) deposits() map[string][]deposit {
	byKey := map[string][]deposit{}
	for _, d := range h.Deposits {
		byKey[d.Key] = append(byKey[d.Key], d)
	}
	return byKey
}

// landmark is a checkpoint that nobody with a newer token may find an older one than, once it stood on a quorum.
type landmark struct {
	version
	since int64 // it came to stand there, or later
	how   string
}

// remembered finds leases that began with an older checkpoint than they should have: older than one that was acknowledged, or
// than one that a lease before found. Where so many nodes forgot that no quorum knows it any more, it may be gone. And it finds
// those that were acknowledged after a newer lease had looked for them; a newer lock that never looks ends nobody's writing.
func remembered(h *history) (broken []string) {
	deposits := h.deposits()
	for key, resumed := range h.resumed() {
		var marks []landmark
		for _, d := range deposits[key] {
			if by, overtaken := overtaker(resumed, d); d.Kept && !overtaken {
				marks = append(marks, landmark{d.version, d.Call, "was acknowledged"})
			} else if d.Kept && h.forgot(by.Call, d.Call) == 0 {
				broken = append(broken, fmt.Sprintf("%s: the checkpoint %v was acknowledged, asked for at %s, after %s",
					key, d.version, h.ms(d.Call), h.describe(by)))
			}
		}
		for _, a := range resumed {
			found := a.Found
			var newest landmark
			for _, m := range marks {
				if m.Token < a.Token && newest.before(m.version) && h.forgot(m.since, a.Acquired) < h.Fragile {
					newest = m
				}
			}
			if found == (version{}) && newest.version != found {
				found = firstCleared(deposits[key], newest.version, a)
			}
			if found.before(newest.version) {
				broken = append(broken, fmt.Sprintf("%s: %s found the checkpoint %v, and %v %s", key, h.describe(a), a.Found, newest.version, newest.how))
			}
			marks = append(marks, landmark{found, a.Call, "was found before"})
		}
	}
	return broken
}

// firstCleared is the earliest version, from this one on, that says that there is no checkpoint.
func firstCleared(all []deposit, from version, a attempt) (first version) {
	for _, d := range all {
		if d.Cleared && d.Token < a.Token && d.Call < a.Acquired && !d.before(from) && (first == version{} || d.before(first)) {
			first = d.version
		}
	}
	return first
}

// overtaker is one of these, all of d's key, that had it with a newer token before d was asked for.
func overtaker(resumed []attempt, d deposit) (by attempt, ok bool) {
	for _, a := range resumed {
		if a.Token > d.Token && a.Acquired < d.Call {
			return a, true
		}
	}
	return attempt{}, false
}

// made finds checkpoints that nobody made, and those of a holder that had been overtaken by a lease which looked for
// checkpoints before it made them.
func made(h *history) (broken []string) {
	deposits := h.deposits()
	for key, resumed := range h.resumed() {
		known := map[version]deposit{}
		for _, d := range deposits[key] {
			known[d.version] = d
		}
		for _, a := range resumed {
			if a.Found == (version{}) {
				continue
			}
			d, ok := known[a.Found]
			if !ok || d.Cleared || d.Call > a.Acquired || d.Token >= a.Token {
				broken = append(broken, fmt.Sprintf("%s: %s found the checkpoint %v, which nobody had made", key, h.describe(a), a.Found))
				continue
			}
			for _, by := range resumed {
				if by.Token > d.Token && by.Acquired < d.Call && h.forgot(by.Call, a.Acquired) < h.Fragile {
					broken = append(broken, fmt.Sprintf("%s: %s found the checkpoint %v, asked for at %s, after %s",
						key, h.describe(a), a.Found, h.ms(d.Call), h.describe(by)))
					break
				}
			}
		}
	}
	return broken
}
