package quorumlock

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
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
				must(t, r.Clients[node].Eval(ctx, slotAcquireSource, limitNames("lock:"+key), fmt.Sprintf("%s/%d/", process, slot),
					scriptTTL, l.step(), time.Now().UnixMicro(), process+limitWaiter, scriptRetention, scriptMaxTTL, l.marker(), l.n, slot, tag+tag, l.step(), 0, "").Err())
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

// Each slot is held on a quorum, but not on all nodes. An attempt is granted what
// is left over, and of all slots it learns when the first may be free. It is queued
// on every node, and the holders there are told.
func TestLimit_AnAttemptThatGetsLeftoversWaitsForTheHolders(t *testing.T) {
	const short, others = 30_000, 600_000 // ms
	for _, tt := range []struct {
		name  string
		limit int
		held  [][2]int // node, slot
	}{
		{"one node refuses", 2, [][2]int{{0, 0}, {1, 0}, {1, 1}, {2, 1}}},
		{"no node refuses", 3, [][2]int{{0, 0}, {1, 0}, {1, 1}, {2, 1}, {2, 2}, {0, 2}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onNodes(t, 3, func(t *testing.T, r *rig) {
				red, ctx, l := r.redlock(nil, Config{}), t.Context(), &limited{n: tt.limit}
				harness.Eventually(t, "every node to send messages", func() bool {
					return !slices.ContainsFunc(red.c.Nodes(), func(n *nodeset.Node) bool { return !n.Listening() })
				})
				warm(t, red)
				var told []<-chan string
				for node := range r.Len() {
					told = append(told, r.hearOn(node, "H0", "H1", "H2"))
				}
				for _, g := range tt.held {
					ttl := others
					if g[1] == 0 {
						ttl = short
					}
					must(t, r.Clients[g[0]].Eval(ctx, slotAcquireSource, limitNames("lock:k"), fmt.Sprintf("H%d/1/", g[1]), ttl, l.step(),
						time.Now().UnixMicro(), "H/s", scriptRetention, 2*others, l.marker(), l.n, g[1], []string{"AA", "AB", "BA"}[g[1]], l.step(), 0, "").Err())
				}
				_, err := red.Acquire(ctx, "k", Request{Limit: tt.limit, Queue: true})
				held := as[*NotAcquiredError](t, err)
				if held.MayBeSplit() || held.FreeIn <= 0 || held.FreeIn > short*time.Millisecond {
					t.Errorf("refused: split %t, perhaps split %t, free in %v: %v", held.Split, held.MayBeSplit(), held.FreeIn, err)
				}
				taken := map[int]int64{}
				for _, g := range tt.held {
					taken[g[0]]++
				}
				for node := range r.Len() {
					harness.Receive(t, "an announcement", told[node])
					harness.Eventually(t, "it is queued, and has given back what it was granted", func() bool {
						slots := r.Clients[node].ZCard(ctx, Companion("lock:k", "until")).Val()
						return slots == taken[node] && slices.Equal(r.Clients[node].ZRange(ctx, Companion("lock:k", "queue"), 0, -1).Val(), []string{red.c.Process() + limitWaiter})
					})
				}
			})
		})
	}
}

func TestLimited_Tally_TellsHoldersByTheirWholeTag(t *testing.T) {
	l := &limited{n: 3, said: []slotsSaid{{slots: "AAXY00"}, {slots: "AAXZ00"}, {slots: "AAZYBB"}}}
	h := &Hold{limit: l, members: []nodeState{{result: Refused}, {result: Refused}, {result: Refused}}}
	if got := l.tally(h); !slices.Equal(got.most, []int{3, 1, 1}) || !slices.Equal(got.taken, []int{3, 3, 1}) {
		t.Errorf("tally %+v", got)
	}
	for range 1000 {
		if tag := newTag(); len(tag) != tagWidth || strings.Contains(tag, "0") || tag == forcedTag {
			t.Fatalf("tag %q", tag)
		}
	}
}

func TestLimited_FreeIn_IsWhenEnoughNodesMayHaveASlot(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		const a, b, c, unknown = 3 * time.Second, 5 * time.Second, 9 * time.Second, -time.Millisecond
		for _, tt := range []struct {
			taken int
			lefts [3]time.Duration
			want  time.Duration
		}{
			{3, [3]time.Duration{c, a, b}, b},
			{2, [3]time.Duration{c, a, b}, a},
			{3, [3]time.Duration{unknown, a, b}, b},
			{3, [3]time.Duration{unknown, unknown, a}, unknown},
			{3, [3]time.Duration{0, 0, a}, 0},
		} {
			h := &Hold{r: red, members: make([]nodeState, 3)}
			l := &limited{n: 2, said: make([]slotsSaid, 3)}
			for i, left := range tt.lefts {
				h.members[i].result, l.said[i].left = []Result{Granted, Refused, Refused}[i], left
			}
			if got := l.freeIn(h, tt.taken); got != tt.want {
				t.Errorf("taken on %d nodes, which say %v: free in %v, want %v", tt.taken, tt.lefts, got, tt.want)
			}
		}
	})
}
