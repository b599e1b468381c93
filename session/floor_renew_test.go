package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// missesDrop restores node i to its state before fields were dropped.
func missesDrop(t testing.TB, nodes harness.Set, i int, ss *Session, before map[string]string) {
	t.Helper()
	cl := harness.Client(t, nodes, i)
	must(t, cl.Del(t.Context(), "session:"+ss.hash).Err())
	must(t, cl.HSet(t.Context(), "session:"+ss.hash, before).Err())
}

// A process that read before a drop renews when one of two nodes has dropped
// the fields and the other has not.
func TestSession_Renew_SucceedsDuringADrop(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{false, true} {
		nodes := harness.Embedded(t, 3)
		s, other := store(t, nodes, Config{}), store(t, nodes, Config{})
		ss := oneTime(t, s, nodes)
		mine, handle := load(t, other, ss.ID()), load(t, other, ss.ID())
		use(t, ss)
		settled(t, s)
		before := fieldsOn(t, nodes, 2, ss)
		dropped(t, s, nodes, ss)
		missesDrop(t, nodes, 2, ss, before)

		only(t, other, nodes, 1, 2)
		must(t, mine.Set("more", 1))
		if alone {
			must(t, other.LogoutAll(t.Context(), "ann", mine))
		} else {
			must(t, mine.Renew(t.Context()))
		}
		used(t, mine)
		has(t, mine, "more", 1)
		all(t, other, nodes)
		gone(t, s, handle.ID())
		for left := range nodes.Len() {
			only(t, other, nodes, left, (left+1)%3)
			again := load(t, other, mine.ID())
			used(t, again)
			has(t, again, "more", 1)
			all(t, other, nodes)
		}
	}
}

// A node that has dropped fields lacks a field below its floor that a quorum of
// other nodes has. A renewal on this node and one of the others writes the
// field to both, and the changes of the renewal count although its clock is
// behind the floor.
func TestSession_Renew_KeepsFieldsBelowAnUnknownFloor(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"user": "ann", "changed": 1})
	settled(t, s)
	var mine *Session
	without(t, s, nodes, []int{0}, func() {
		mine = load(t, s, ss.ID())
		set(t, mine, "kept", 1)
	})
	floor := next(mine.rec.newest(), 1)
	floor = stamp(micros(floor)+3_600_000_000) + floor[timeWidth:]
	must(t, harness.Client(t, nodes, 0).HSet(t.Context(), "session:"+ss.hash, "f"+floorField, floorOver(floor, nil)).Err())
	must(t, mine.Set("changed", 2))

	only(t, s, nodes, 0, 1)
	must(t, mine.Renew(t.Context()))
	for i := range 2 {
		f := fieldsOn(t, nodes, i, mine)
		if len(f["fkept"]) != versionWidth+2 || len(f["fchanged"]) != versionWidth+2 || f["fchanged"][versionWidth:] != "=2" ||
			f["fchanged"][:versionWidth] <= floor {
			t.Errorf("node %d has %q", i, f)
		}
	}
	has(t, mine, "kept", 1)
	has(t, mine, "changed", 2)
	all(t, s, nodes)
	only(t, s, nodes, 0, 2)
	has(t, load(t, s, mine.ID()), "kept", 1)
	has(t, load(t, s, mine.ID()), "changed", 2)
	all(t, s, nodes)
}

// A load by the old id during a renewal ends the session on the nodes that the
// renewal has not reached. The nodes that accepted the renewal are a quorum, so
// it counts.
func TestSession_Renew_SurvivesALoadOfTheOldID(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"a": 1})
	settled(t, s)
	old := ss.ID()
	cl := harness.Client(t, nodes, 0)
	must(t, cl.Del(t.Context(), "session:"+ss.hash).Err())
	must(t, cl.HSet(t.Context(), "session:"+ss.hash, "x", "1").Err())
	must(t, s.LogoutAll(t.Context(), "ann", ss)) // waits for all nodes, whichever answers first
	gone(t, s, old)
	for left := range nodes.Len() {
		only(t, s, nodes, left, (left+1)%3)
		has(t, load(t, s, ss.ID()), "a", 1)
		all(t, s, nodes)
	}
}

// Each node has dropped fields without the others, so there are more floors
// than a record can name. The nodes answer, and the error says so.
func TestSession_Renew_WithoutAgreementCountsTheAnswers(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 19)
	s := store(t, nodes, Config{})
	ss, made := create(t, s, "ann", data{"a": 1}), create(t, s, "ann", nil)
	settled(t, s)
	for i := range nodes.Len() {
		floor := floorOver(s.clock.after(""), nil)
		must(t, harness.Client(t, nodes, i).HSet(t.Context(), "session:"+made.hash, "f"+floorField, floor).Err())
	}
	from := replacement{old: ss.hash, until: stamp(time.Now().UnixMicro())}
	_, _, err := s.succeed(t.Context(), made.hash, made.rec, from, ss.rec, nil)
	var missing *cluster.QuorumError
	if !errors.As(err, &missing) || !errors.Is(err, errUnsettled) || missing.Got < missing.Need {
		t.Fatalf("it ended with %v", err)
	}
	if want := fmt.Sprintf("no quorum: %d answered, and 10 are needed: they have not agreed", missing.Got); !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
}
