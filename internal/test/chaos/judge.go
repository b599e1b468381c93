//go:build unix

package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// checks are what every history must stand. Each says, in one line each, what broke its rule.
var checks = []struct {
	name  string
	check func(*history) []string
}{
	{"tokens are given once", givenOnce},
	{"later acquisitions have larger tokens", inOrder},
	{"holders do not overlap", exclusive},
	{"the store is guarded", guarded},
	{"checkpoints are remembered", remembered},
	{"checkpoints were made, and in time", made},
	{"leaders are in order", orderly},
	{"observers see leaders", observed},
	{"errors have their faults", explained},
	{"every key can be had again", recovered},
	{"something was done", lively},
}

func sortBy[T any](all []T, by func(T) int64) {
	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(by(a), by(b)) })
}

func (h *history) ms(t int64) string {
	return fmt.Sprintf("%.3f ms", float64(t-h.Start)/float64(time.Millisecond))
}
