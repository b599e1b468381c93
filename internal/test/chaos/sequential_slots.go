//go:build unix

package chaos

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// slotStep begins or ends the holding of a slot, in the form for porcupine.
type slotStep struct {
	over  bool
	key   string
	slot  int
	limit int
	token int64
	loose bool // exclusion is not promised
}

func (in slotStep) part() string { return in.key }

// held is the set of slots of one key that are held, one bit for each.
type held uint64

// semaphore is a key with a limit as a single machine without faults would implement it: a free slot below the limit is
// granted, and ends once, so no more than the limit are held. The model of locks has the tokens of each slot, and its
// store.
var semaphore = porcupine.Model{
	Partition: byKey,
	Init:      func() any { return held(0) },
	Step: func(state, input, _ any) (bool, any) {
		s, in := state.(held), input.(slotStep)
		if in.slot < 0 || in.slot >= in.limit {
			return false, s
		}
		slot := held(1) << in.slot
		if in.over {
			return s&slot != 0 || in.loose, s &^ slot
		}
		return s&slot == 0 || in.loose, s | slot
	},
	DescribeOperation: func(input, _ any) string {
		in := input.(slotStep)
		if in.over {
			return fmt.Sprintf("slot %d of %s over (%d)", in.slot, in.key, in.token)
		}
		return fmt.Sprintf("acquire %s -> slot %d of %d (%d)", in.key, in.slot, in.limit, in.token)
	},
	DescribeState: func(state any) string { return fmt.Sprintf("slots held: %b", state) },
}

// slotOperations returns what happened to keys with a limit in the form for porcupine.
func (h *history) slotOperations() (ops []porcupine.Operation) {
	for _, a := range h.Attempts {
		if a.Limit == 0 {
			continue
		}
		began := slotStep{key: a.Key, slot: a.Slot, limit: a.Limit, token: a.Token, loose: h.letGo(a)}
		over := began
		over.over = true
		ops = append(ops, h.bounds(a, began, over)...)
	}
	return ops
}
