package session

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// ahead returns a version that is ahead of this machine's clock by the given
// time.
func ahead(by time.Duration) version {
	return stamp(time.Now().Add(by).UnixMicro()) + strings.Repeat("f", versionWidth-timeWidth)
}

// If versions of a node that are too far ahead of the clock were accepted, they
// would raise the versions on all nodes until nothing could be read or written.
func TestVersion_TooFarAheadIsForeign(t *testing.T) {
	t.Parallel()
	s := store(t, harness.Embedded(t, 1), Config{})
	now, memory := stamp(time.Now().UnixMicro()), ahead(0)
	head := func(issue version) []any { return []any{"h", memory + now + issue + now + now} }
	for name, read := range map[string]func(v version) error{
		"a version that a node has": func(v version) error {
			return new(count).take(reply{status: "newer", rest: []any{v}})
		},
		"a log-out that ends a session": func(v version) error {
			return new(count).take(reply{status: "gone", rest: []any{v}})
		},
		"a log-out by a rival": func(v version) error {
			return new(count).take(reply{status: "out", rest: []any{newID(), v}})
		},
		"the floor of a renewal": func(v version) error {
			return new(count).take(reply{status: "stale", rest: []any{"", "", []any{floorField, v + "-"}}})
		},
		"a field of a predecessor": func(v version) error {
			return new(count).take(reply{status: "ok", rest: []any{"", "", []any{"a", v + "=1"}}})
		},
		"an issue": func(v version) error {
			_, err := parseRecord(head(v), memory, time.Now(), nil)
			return err
		},
		"a field": func(v version) error {
			_, err := parseRecord(append(head(memory), "fa", v+"=1"), memory, time.Now(), nil)
			return err
		},
		"a floor before the last": func(v version) error {
			_, err := parseRecord(append(head(memory), "f"+floorField, memory+"-"+v), memory, time.Now(), nil)
			return err
		},
		"a log-out": func(v version) error {
			_, err := parseAnswer(reply{node: s.c.Nodes()[0], status: "ok", memory: memory, rest: []any{v, []any{}}}, nil)
			return err
		},
		"a log-out in a list": func(v version) error {
			l := &listing{s: s, from: stamp(0), most: maxListed, found: map[string][]answer{}}
			return l.take(reply{node: s.c.Nodes()[0], status: "ok", memory: memory, rest: []any{v, []any{}, ""}})
		},
	} {
		if err := read(ahead(nodeset.MaxFenceLead - time.Hour)); err != nil {
			t.Errorf("%s that clocks explain: %v", name, err)
		}
		if err := read(ahead(nodeset.MaxFenceLead + time.Hour)); !errors.Is(err, errAhead) {
			t.Errorf("%s too far ahead: %v", name, err)
		}
		if err := read("never"); !errors.Is(err, errForeign) {
			t.Errorf("%s that is no version: %v", name, err)
		}
	}
}

// A node with impossible versions counts as one that does not answer, whatever
// the operation.
func TestVersion_OfANodeTooFarAheadSpoilsNoSession(t *testing.T) {
	t.Parallel()
	end := strings.Repeat("8", timeWidth) + strings.Repeat("f", versionWidth-timeWidth)
	poisons := map[string]func(t *testing.T, cl *redis.Client, ss *Session){
		"floor": func(t *testing.T, cl *redis.Client, ss *Session) {
			must(t, cl.HSet(t.Context(), "session:"+ss.hash, "f"+floorField, end+"-").Err())
		},
		"field": func(t *testing.T, cl *redis.Client, ss *Session) {
			must(t, cl.HSet(t.Context(), "session:"+ss.hash, "fa", end+"=1").Err())
		},
		"issue": func(t *testing.T, cl *redis.Client, ss *Session) {
			h := cl.HGet(t.Context(), "session:"+ss.hash, "h").Val()
			at := versionWidth + timeWidth
			if h == "" { // the node did not accept this renewal
				return
			}
			must(t, cl.HSet(t.Context(), "session:"+ss.hash, "h", h[:at]+end+h[at+versionWidth:]).Err())
		},
		"log-out": func(t *testing.T, cl *redis.Client, _ *Session) {
			must(t, cl.HSet(t.Context(), "session:epoch:ann", "all", end).Err())
		},
		"newest issue": func(t *testing.T, cl *redis.Client, _ *Session) {
			must(t, cl.HSet(t.Context(), "session:epoch:ann", "top", end).Err())
		},
	}
	for name, poison := range poisons {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := harness.Embedded(t, 3)
			s := store(t, nodes, Config{})
			ss := create(t, s, "ann", data{"a": 1})
			settled(t, s)
			poison(t, harness.Client(t, nodes, 0), ss)
			for _, quorum := range [][]int{{0, 1, 2}, {1, 2}} {
				only(t, s, nodes, quorum...)
				mine := load(t, s, ss.ID())
				set(t, mine, "a", 2)
				must(t, mine.Renew(t.Context()))
				poison(t, harness.Client(t, nodes, 0), mine)
				has(t, load(t, s, mine.ID()), "a", 2)
				must(t, s.LogoutAll(t.Context(), "ann", mine))
				has(t, load(t, s, mine.ID()), "a", 2)
				all, err := s.List(t.Context(), "ann")
				if err != nil || len(all) != 1 {
					t.Errorf("%d sessions listed, %v", len(all), err)
				}
				ss = mine
			}
			for i := 1; i < nodes.Len(); i++ {
				cl := harness.Client(t, nodes, i)
				for _, key := range harness.Keys(t, nodes, i) {
					if all := cl.HGetAll(t.Context(), key).Val(); strings.Contains(strings.Join(slices.Collect(maps.Values(all)), " "), end[:timeWidth-1]) {
						t.Errorf("node %d has %q of node 0: %q", i, key, all)
					}
				}
			}
			must(t, s.LogoutAll(t.Context(), "ann", nil))
			gone(t, s, ss.ID())
			all(t, s, nodes)
		})
	}
}

// A node lacks a session, reports that, and refuses to store it. The other
// nodes that have it are a quorum.
func TestStore_Load_DoesNotDependOnANodeThatRefusesWrites(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	var all []*Session
	for range 30 { // whichever two nodes answer first
		all = append(all, create(t, s, "ann", data{"a": 1}))
	}
	settled(t, s)
	cl := harness.Client(t, nodes, 0)
	must(t, cl.HSet(t.Context(), "session:epoch:ann", "all", ahead(nodeset.MaxFenceLead+time.Hour)).Err())
	for _, ss := range all {
		must(t, cl.Del(t.Context(), "session:"+ss.hash).Err())
	}
	for _, ss := range all {
		has(t, load(t, s, ss.ID()), "a", 1)
	}
}
