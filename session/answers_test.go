package session

import (
	"testing"
	"time"
)

// A node that missed the renewal has a tombstone without a successor. The other
// nodes still know the successor.
func TestJudge_PrefersTheTombstoneWithTheSuccessor(t *testing.T) {
	t.Parallel()
	until, to := stamp(time.Now().Add(time.Hour).UnixMicro()), newID()
	answers := []answer{
		{node: 0, record: &record{gone: true, to: to, until: until}}, {node: 1, record: &record{gone: true}},
	}
	v := judge(answers, func(*answer) bool { return true }, 0)
	if v.tombstone.to != to {
		t.Error("the successor is not found")
	}
}
