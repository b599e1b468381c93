package quorumlock

import (
	"math"
	"testing"
)

func TestLeading_IsTheLargestFenceAndHowManyReportIt(t *testing.T) {
	tests := []struct {
		name   string
		fences []int64
		m      int64
		n      int
	}{
		{"no grant", nil, 0, 0},
		{"one grant", []int64{7}, 7, 1},
		{"all agree", []int64{7, 7, 7}, 7, 3},
		{"the first leads", []int64{9, 7, 8}, 9, 1},
		{"the last leads", []int64{7, 8, 9}, 9, 1},
		{"two lead, one between them", []int64{9, 7, 9}, 9, 2},
		{"a new leader starts its own count", []int64{7, 7, 9, 7}, 9, 1},
		{"laggards that agree do not count", []int64{9, 7, 7, 7}, 9, 1},
		{"a counter that was never raised", []int64{0, 0}, 0, 2},
		{"below zero", []int64{-3, -2, -2}, -2, 2},
		{"the extremes", []int64{math.MinInt64, math.MaxInt64}, math.MaxInt64, 1},
		{"microseconds that differ by one", []int64{1<<53 - 1, 1<<53 - 2, 1<<53 - 1}, 1<<53 - 1, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if m, n := leading(tt.fences); m != tt.m || n != tt.n {
				t.Errorf("leading(%v) = %d, %d; want %d, %d", tt.fences, m, n, tt.m, tt.n)
			}
		})
	}
}

func TestJudge_ClassifiesTheVote(t *testing.T) {
	tests := []struct {
		name                          string
		quorum, exact, owned, pending int
		want                          verdict
	}{
		{"agreed in one round trip", 2, 2, 0, 0, settled},
		{"more than a quorum agreed", 2, 3, 0, 0, settled},
		{"agreed, whatever is pending", 3, 3, 0, 2, settled},
		{"one short, nothing asked", 2, 1, 0, 0, impossible},
		{"one short, one asked", 2, 1, 0, 1, undecided},
		{"one short, one owned", 2, 1, 1, 0, settled},
		{"owned before the other answered", 3, 2, 1, 1, settled},
		{"one of two owned", 3, 1, 1, 1, undecided},
		{"both owned", 3, 1, 2, 0, settled},
		{"one of two refused", 3, 1, 0, 1, impossible},
		{"one owned, one refused", 3, 1, 1, 0, impossible},
		{"two short, one asked", 4, 2, 0, 1, impossible},
		{"two short, two asked", 4, 2, 0, 2, undecided},
		{"seven nodes, every raise needed", 4, 1, 2, 1, undecided},
		{"a single node", 1, 1, 0, 0, settled},
		{"no grant at all", 2, 0, 0, 0, impossible},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.quorum, tt.exact, tt.owned, tt.pending); got != tt.want {
				t.Errorf("judge(%d, %d, %d, %d) = %d, want %d", tt.quorum, tt.exact, tt.owned, tt.pending, got, tt.want)
			}
		})
	}
}

// A verdict that is not undecided is final: answers that are still to come cannot change it.
func TestJudge_AVerdictIsFinal(t *testing.T) {
	for quorum := 1; quorum <= 4; quorum++ {
		for exact := range quorum + 1 {
			for owned := range quorum + 1 {
				for pending := 1; pending <= quorum; pending++ {
					now := judge(quorum, exact, owned, pending)
					yes, no := judge(quorum, exact, owned+1, pending-1), judge(quorum, exact, owned, pending-1)
					if now != undecided && (yes != now || no != now) {
						t.Errorf("judge(%d, %d, %d, %d) = %d, then %d or %d", quorum, exact, owned, pending, now, yes, no)
					}
				}
			}
		}
	}
}
