package quorumlock

import (
	"fmt"
	"testing"
	"time"
)

// One slot is split between the attempt and two others, and the other slots are
// held. The attempt is to look again soon, not when a TTL ends.
func TestLimit_ASplitVoteIsNotTakenForAHolder(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{}), t.Context()
		for _, tt := range []struct {
			name  string
			limit int
			tags  [2]string // of the two others
		}{
			{"one slot", 1, [2]string{"B", "C"}},
			{"one slot, and the same tag by chance", 1, [2]string{"B", "B"}},
			{"three slots, and the same tag by chance", 3, [2]string{"B", "B"}},
			{"as many slots as a grant tells of", mapLimit, [2]string{"B", "C"}},
			{"more slots than a grant tells of", mapLimit + 1, [2]string{"B", "C"}},
		} {
			key := tt.name
			ask := func(node int, process, tag string, slot int) {
				l := &limited{n: tt.limit}
				must(t, r.Clients[node].Eval(ctx, drawSource+limitSource+limitAcquireSource, limitNames("lock:"+key), fmt.Sprintf("%s/%d/", process, slot),
					scriptTTL, l.step(), time.Now().UnixMicro(), process+limitWaiter, scriptRetention, scriptMaxTTL, l.marker(), l.n, slot, tag, l.step(), 0, "").Err())
			}
			for slot := 1; slot < tt.limit; slot++ {
				for node := range r.Len() {
					ask(node, "H", "H", slot)
				}
			}
			ask(1, "B", tt.tags[0], 0)
			ask(2, "C", tt.tags[1], 0)
			_, err := red.Acquire(ctx, key, Request{Limit: tt.limit, Start: 1})
			if held := as[*NotAcquiredError](t, err); !held.Split || NextSlot(err) != 1 {
				t.Errorf("%s: split %t, and the next attempt starts at slot %d: %v", tt.name, held.Split, NextSlot(err)-1, err)
			}
		}
	})
}
