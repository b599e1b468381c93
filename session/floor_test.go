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

// fieldsOn returns the hash fields of a node's record of a session.
func fieldsOn(t testing.TB, nodes harness.Set, i int, ss *Session) map[string]string {
	return harness.Client(t, nodes, i).HGetAll(t.Context(), "session:"+ss.hash).Val()
}

// tombstonesOn counts the deleted fields that a node keeps.
func tombstonesOn(t testing.TB, nodes harness.Set, i int, ss *Session) (n int) {
	for name, value := range fieldsOn(t, nodes, i, ss) {
		if strings.HasPrefix(name, "f") && name != "f"+floorField && value[versionWidth] == kindDeleted {
			n++
		}
	}
	return n
}

const oneTimes = 2 * manyTombstones

// oneTime creates a session with fields that are used once.
func oneTime(t testing.TB, s *Store, nodes harness.Set) *Session {
	d := data{"user": "ann"}
	for i := range oneTimes {
		d[fmt.Sprint("once", i)] = i
	}
	ss := create(t, s, "ann", d)
	eventually(t, "all nodes to have it", func() bool {
		for i := range nodes.Len() {
			if len(fieldsOn(t, nodes, i, ss)) != 1+len(d) {
				return false
			}
		}
		return true
	})
	return ss
}

// use deletes the fields that are used once.
func use(t testing.TB, ss *Session) {
	t.Helper()
	for i := range oneTimes {
		ss.Delete(fmt.Sprint("once", i))
	}
	must(t, ss.Commit(t.Context()))
}

// used fails if one of them exists.
func used(t testing.TB, ss *Session) {
	t.Helper()
	has(t, ss, "user", "ann")
	for i := range oneTimes {
		if v, ok, err := Get[int](ss, fmt.Sprint("once", i)); ok || err != nil {
			t.Fatalf("deleted field once%d exists again: %v, %v", i, v, err)
		}
	}
}

// dropped loads the session until no node keeps a tombstone, and fails if a
// deleted field is seen.
func dropped(t testing.TB, s *Store, nodes harness.Set, ss *Session) {
	t.Helper()
	eventually(t, "the tombstones to be dropped", func() bool {
		used(t, load(t, s, ss.ID()))
		for i := range nodes.Len() {
			if f := fieldsOn(t, nodes, i, ss); tombstonesOn(t, nodes, i, ss) > 0 || f["f"+floorField] == "" {
				return false
			}
		}
		return true
	})
}

func TestFloor_DeletedFieldsDoNotFillASession(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{MaxSize: 1024})
		ss := create(t, s, "ann", data{"user": "ann"})
		for i := range 300 {
			name := fmt.Sprintf("csrf:%016x", i)
			set(t, ss, name, 1)
			ss.Delete(name)
			must(t, ss.Commit(t.Context()))
		}
		settled(t, s)
		for i := range nodes.Len() {
			if n := tombstonesOn(t, nodes, i, ss); n > 60 {
				t.Errorf("node %d keeps %d of 300 deleted fields", i, n)
			}
		}
		must(t, ss.Renew(t.Context()))
		has(t, load(t, s, ss.ID()), "user", "ann")
	})
}

// While a node does not answer, its older values may return, so no tombstone is
// dropped. Still, deleted fields do not grow without bound.
func TestFloor_UnreachableNodeRevivesNoDeletedField(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{MaxSize: 2048})
		ss := oneTime(t, s, nodes)
		without(t, s, nodes, []int{2}, func() {
			use(t, ss)
			for range 5 {
				used(t, load(t, s, ss.ID()))
			}
			settled(t, s)
			if n := tombstonesOn(t, nodes, 0, ss); n != oneTimes {
				t.Errorf("%d of %d tombstones are left while a node has the values", n, oneTimes)
			}
			other, err := load(t, s, ss.ID()), error(nil)
			for i := 0; err == nil && i < 1000; i++ {
				other.Delete(fmt.Sprintf("another%0100d", i))
				err = other.Commit(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), "Config.MaxSize") {
				t.Errorf("further deletions: %v; want an error at some size", err)
			}
		})
		if f := fieldsOn(t, nodes, 2, ss); f["fonce0"] == "" || f["fonce0"][versionWidth] != kindValue {
			t.Fatalf("the node has lost the old value: %q", f["fonce0"])
		}
		only(t, s, nodes, 1, 2)
		used(t, load(t, s, ss.ID()))
		all(t, s, nodes)
		dropped(t, s, nodes, ss)
		for left := range nodes.Len() {
			only(t, s, nodes, left, (left+1)%3)
			used(t, load(t, s, ss.ID()))
			all(t, s, nodes)
		}
	})
}

// A stalled process cannot write a record after fields were dropped that it had
// read before.
func TestFloor_RecordReadBeforeADropIsRefused(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s, other := store(t, nodes, Config{}), store(t, nodes, Config{})
	ss := oneTime(t, s, nodes)
	old, renewed := load(t, other, ss.ID()), load(t, other, ss.ID())
	use(t, ss)
	dropped(t, s, nodes, ss)

	for range 3 {
		c, failed, err := other.write(t.Context(), other.putQuestion(old.hash, old.rec, replacement{}))
		if err != nil || c.ok > 0 || c.stale < 2 {
			t.Fatalf("a put of the old record: %+v, %v, %v", c, failed, err)
		}
	}
	v := old.rec.fields["once0"]
	late := other.commitQuestion(old.hash, v[:versionWidth], map[string]string{"once0": v[versionWidth:]}, "")
	if c, failed, err := other.write(t.Context(), late); err != nil || c.ok > 0 || c.newest == "" {
		t.Errorf("a late commit: %+v, %v, %v", c, failed, err)
	}
	used(t, load(t, s, ss.ID()))

	set(t, renewed, "more", 1)
	must(t, renewed.Renew(t.Context()))
	used(t, renewed)
	again := load(t, s, renewed.ID())
	used(t, again)
	has(t, again, "more", 1)
}

// A load that leads to a drop knows the new floor, so its session is renewed
// without another read.
func TestSession_Renew_KnowsTheDropOfItsOwnLoad(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	ss := oneTime(t, s, nodes)
	use(t, ss)
	mine := load(t, s, ss.ID())
	eventually(t, "the drop", func() bool { return mine.rec.dropped.Load() != nil })
	settled(t, s)
	from := replacement{old: mine.hash, until: stamp(1)}
	rec := *mine.rec
	rec.issue, rec.fields = s.clock.after(rec.issue), mine.rec.known()
	if _, err := s.put(t.Context(), "renew", hash(newID()), &rec, from); err != nil {
		t.Error(err)
	}
}

// A node recovers with a snapshot in which the fields are not deleted. They are
// not read from it, and are gone when its record is whole again.
func TestFloor_SnapshotRevivesNoDeletedField(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	ss := oneTime(t, s, nodes)
	before := fieldsOn(t, nodes, 2, ss)
	use(t, ss)
	dropped(t, s, nodes, ss)
	now := load(t, s, ss.ID()).rec
	whole, found := *now, record{issue: now.issue, born: now.born, deadline: now.deadline, idle: now.idle, fields: map[string]string{}}
	whole.whole = true
	for name, value := range before {
		if name != "h" {
			found.fields[name[1:]] = value
		}
	}
	v := judge([]answer{{node: 2, record: &found}, {record: &whole}, {node: 1, record: &whole}}, func(*answer) bool { return false }, 0)
	used(t, s.newSession("", ss.hash, v.live))

	cl := harness.Client(t, nodes, 2)
	must(t, cl.Del(t.Context(), "session:memory", "session:"+ss.hash).Err())
	must(t, cl.HSet(t.Context(), "session:"+ss.hash, before).Err())
	eventually(t, "the node to be rebuilt", func() bool {
		used(t, load(t, s, ss.ID()))
		return remembers(t, nodes, 2, ss.hash)
	})
	only(t, s, nodes, 1, 2)
	used(t, load(t, s, ss.ID()))
	all(t, s, nodes)
}

// A node that misses a drop keeps the old tombstones, and accepts a result that
// names both floors.
func TestFloor_NodesThatMissADropAreRepaired(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	ss := oneTime(t, s, nodes)
	use(t, ss)
	settled(t, s)
	var before [3]map[string]string
	for i := range before {
		before[i] = fieldsOn(t, nodes, i, ss)
	}
	dropped(t, s, nodes, ss)
	for i := range 2 { // the two nodes that missed it are a quorum, and each of them with the third
		cl := harness.Client(t, nodes, i)
		must(t, cl.Del(t.Context(), "session:"+ss.hash).Err())
		must(t, cl.HSet(t.Context(), "session:"+ss.hash, before[i]).Err())
	}
	only(t, s, nodes, 1, 2)
	used(t, load(t, s, ss.ID()))
	set(t, ss, "more", 1)
	all(t, s, nodes)
	dropped(t, s, nodes, ss)
	has(t, load(t, s, ss.ID()), "more", 1)
	eventually(t, "all floors to be one", func() bool {
		load(t, s, ss.ID())
		one := fieldsOn(t, nodes, 0, ss)["f"+floorField]
		return fieldsOn(t, nodes, 1, ss)["f"+floorField] == one && fieldsOn(t, nodes, 2, ss)["f"+floorField] == one
	})
}

// Neither of two drops knew of the other. A record read before one of them is
// refused by the nodes with that drop.
func TestFloor_OneDoesNotStandForAnother(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	ss := oneTime(t, s, nodes)
	old := load(t, s, ss.ID())
	a := s.clock.after(old.rec.newest())
	b := s.clock.after(a)
	for i, floor := range []version{a, b, b} { // each node has had another drop
		must(t, harness.Client(t, nodes, i).HSet(t.Context(), "session:"+ss.hash, "f"+floorField, floorOver(floor, nil)).Err())
	}
	for i := range nodes.Len() {
		w := s.newWrite(s.putQuestion(old.hash, old.rec.raised(b, nil), replacement{}))
		w.among = map[int]string{i: s.memories.of(i)}
		if c, failed, err := w.wait(t.Context()); err != nil || (c.ok == 1) != (i > 0) || (c.stale == 1) != (i == 0) {
			t.Errorf("node %d: %+v, %v, %v; want it accepted by the nodes with the floor that it names", i, c, failed, err)
		}
	}
	only(t, s, nodes, 0, 1)
	got := load(t, s, ss.ID())
	all(t, s, nodes)
	floors := got.rec.floors()
	if len(floors) != 3 || floors[0] <= b || floors[1] != b || floors[2] != a {
		t.Errorf("floors %q; want a new one above %q and %q", floors, b, a)
	}
	if !knowsAll([]version{a}, []version{"", a}) || knowsAll([]version{a}, []version{b}) {
		t.Error("knowsAll")
	}
}

func TestFloor_NamesThoseBeforeIt(t *testing.T) {
	t.Parallel()
	var c clock
	var all []version
	for range 8 {
		all = append(all, c.after(""))
	}
	r := (&record{fields: map[string]string{}}).raised(all[7], append([]version{"", all[3], all[7]}, all[:7]...))
	if got := r.floors(); len(got) != 1+maxFloors || got[0] != all[7] || got[1] != all[6] || got[4] != all[3] {
		t.Errorf("%q of %q", got, all)
	}
	if r.floor() != all[7] || (&record{}).floor() != "" || (&record{}).floors() != nil {
		t.Error("floor")
	}
	if _, err := parseRecord([]any{"h", all[0] + all[0][:timeWidth] + all[0] + all[0][:timeWidth] + all[0][:timeWidth], "f" + floorField, r.fields[floorField]}, "", time.Now(), nil); err != nil {
		t.Errorf("a record with a floor: %v", err)
	}
	if !errors.Is(checkName(floorField), cluster.ErrConfig) {
		t.Error("a field may have the name of the floor")
	}
}
