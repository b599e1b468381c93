//go:build unix

package chaos

import "fmt"

// forgot returns how many nodes may have lost data between since and t.
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

// resumed returns the acquisitions that read the last checkpoint, by key, in the order of their tokens.
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

// landmark is a checkpoint that was on a quorum. No later holder may find an older one.
type landmark struct {
	version
	since int64 // the earliest time at which it can have been on a quorum
	how   string
}

// remembered finds leases that began with a too old checkpoint: older than an acknowledged one, or than one that an
// earlier lease found. A checkpoint may be gone if so many nodes lost their data that no quorum has it. It also finds
// checkpoints that were acknowledged after a newer lease had read the last one. A newer lock that reads no checkpoint
// does not end the writes of an older holder.
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

// firstCleared returns the earliest version, from this one on, that deleted the checkpoint.
func firstCleared(all []deposit, from version, a attempt) (first version) {
	for _, d := range all {
		if d.Cleared && d.Token < a.Token && d.Call < a.Acquired && !d.before(from) && (first == version{} || d.before(first)) {
			first = d.version
		}
	}
	return first
}

// overtaker returns an attempt that held d's key with a newer token before d was requested. All attempts in resumed are
// of that key.
func overtaker(resumed []attempt, d deposit) (by attempt, ok bool) {
	for _, a := range resumed {
		if a.Token > d.Token && a.Acquired < d.Call {
			return a, true
		}
	}
	return attempt{}, false
}

// made finds checkpoints that no client wrote, and checkpoints of a holder that were written after a newer lease had
// read the last checkpoint.
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
