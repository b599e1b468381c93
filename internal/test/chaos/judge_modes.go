//go:build unix

package chaos

import "fmt"

// belowLimit finds keys of which more slots than their limit were held at the same time, and slots that such a key does
// not have. Holders that did not run at that time are not counted.
func belowLimit(h *history) (broken []string) {
	for key, held := range h.held() {
		eachBeside(held, func(a attempt, others []attempt) {
			if a.Limit == 0 {
				return
			}
			if a.Slot < 0 || a.Slot >= a.Limit {
				broken = append(broken, fmt.Sprintf("%s: there is no slot %d: %s", key, a.Slot, h.describe(a)))
			}
			n := 0
			for _, o := range append([]attempt{a}, others...) {
				if !h.stalledIn(o.Client, a.Acquired, a.Acquired) && !h.letGo(o) {
					n++
				}
			}
			if n > a.Limit {
				broken = append(broken, fmt.Sprintf("%s: %d of %d hold it since %s", key, n, a.Limit, h.describe(a)))
			}
		})
	}
	return broken
}

// steady finds readers that saw the version of their key change while they believed to hold it, unless they did not run
// at some time meanwhile.
func steady(h *history) (broken []string) {
	for _, a := range h.Attempts {
		held := a.Reread != 0 && a.Reread <= a.Until
		if held && a.Again != a.Saw && !h.stalledIn(a.Client, a.Acquired, a.Reread) && !h.letGo(a) {
			broken = append(broken, fmt.Sprintf("%s: version %d became %d for %s", a.Key, a.Saw, a.Again, h.describe(a)))
		}
	}
	return broken
}
