package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// without calls do while the missing nodes are down for s.
func without(t testing.TB, s *Store, nodes harness.Set, missing []int, do func()) {
	t.Helper()
	down(t, s, cutter(t, nodes), missing...)
	do()
	for _, i := range missing {
		fix(t, nodes, i)
	}
	up(t, s, missing...)
}

// only makes s reach only these nodes. Young nodes among them do not become
// authoritative by that.
func only(t testing.TB, s *Store, nodes harness.Set, left ...int) {
	t.Helper()
	keep := map[int]bool{}
	for _, i := range left {
		keep[i] = true
	}
	for i := range nodes.Len() {
		if !keep[i] {
			down(t, s, cutter(t, nodes), i)
		}
	}
}

func all(t testing.TB, s *Store, nodes harness.Set) {
	t.Helper()
	for i := range nodes.Len() {
		fix(t, nodes, i)
	}
	for i := range nodes.Len() {
		up(t, s, i)
	}
}

func emptied(t testing.TB, s *Store, nodes harness.Set, i int) {
	t.Helper()
	must(t, nodes.Restart(i, true))
	eventually(t, "the restart to be seen", func() bool {
		before := s.memories.of(i)
		s.Load(t.Context(), newID())
		return s.c.Status()[i].Up && s.memories.of(i) != "" && s.memories.of(i) == before && nodeMemory(t, nodes, i) == before
	})
}

// remembers reports whether a node has a session that was written whole in the
// node's current memory, or its tombstone.
func remembers(t testing.TB, nodes harness.Set, i int, hashed string) bool {
	r := harness.Client(t, nodes, i).HGetAll(t.Context(), "session:"+hashed).Val()
	now := nodeMemory(t, nodes, i)
	return r["x"] != "" || now != "" && strings.HasPrefix(r["h"], now[:versionWidth])
}

func nodeMemory(t testing.TB, nodes harness.Set, i int) string {
	return harness.Client(t, nodes, i).Get(t.Context(), "session:memory").Val()
}

func TestStore_Load_BringsDisagreeingAnswersToAQuorum(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		ss := create(t, s, "ann", data{"a": 1, "b": 1})
		without(t, s, nodes, []int{0, 1}, func() { set(t, ss, "a", 2) })
		without(t, s, nodes, []int{3, 4}, func() { set(t, ss, "b", 2) })
		only(t, s, nodes, 1, 2, 3) // 1 lacks a, 3 lacks b
		both := load(t, s, ss.ID())
		has(t, both, "a", 2)
		has(t, both, "b", 2)
		for _, i := range []int{1, 2, 3} {
			have := harness.Client(t, nodes, i).HGetAll(t.Context(), "session:"+ss.hash).Val()
			if got := fmt.Sprint(have["fa"][versionWidth:], have["fb"][versionWidth:]); got != "=2 =2" && got != "=2=2" {
				t.Errorf("node %d has %s", i, got)
			}
		}
		all(t, s, nodes)
	})
}

func TestStore_Load_OneTombstoneEndsTheSession(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		ss := create(t, s, "ann", data{"a": 1})
		without(t, s, nodes, []int{0, 1}, func() { must(t, ss.Destroy(t.Context())) })
		only(t, s, nodes, 0, 1, 2) // two still have it
		gone(t, s, ss.ID())
		must(t, ss.Set("a", 2))
		if err := ss.Commit(t.Context()); !errors.Is(err, ErrSessionGone) {
			t.Errorf("a commit: %v", err)
		}
		all(t, s, nodes)
	})
}

// Nodes lose their data one after another, each rebuilt by a read before the
// next. No session is lost, and none is revived.
func TestStore_Load_RebuildsNodesThatLostTheirData(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		kept, ended := create(t, s, "ann", data{"a": 1}), create(t, s, "ann", nil)
		out := create(t, s, "bob", nil)
		must(t, ended.Destroy(t.Context()))
		must(t, s.LogoutAll(t.Context(), "bob", nil))
		for i := range nodes.Len() {
			emptied(t, s, nodes, i)
			has(t, load(t, s, kept.ID()), "a", 1)
			gone(t, s, ended.ID())
			gone(t, s, out.ID())
			eventually(t, "the node to be rebuilt", func() bool {
				load(t, s, kept.ID())
				return remembers(t, nodes, i, kept.hash)
			})
		}
		has(t, load(t, s, kept.ID()), "a", 1)
	})
}

// The end of a session is on nodes 0, 1 and 2. Node 2 loses it; nodes 3 and 4,
// which were unreachable, still have the session. Neither the old session nor
// the missing tombstone on node 2 counts.
func TestMemory_NodeThatLostATombstoneDoesNotVote(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"restarted empty", "emptied", "with the snapshot from before"} {
		t.Run(how, func(t *testing.T) {
			var nodes harness.Set
			if how == "restarted empty" {
				nodes = harness.Embedded(t, 5)
			} else {
				nodes = harness.Real(t, 5, redisserver.Options{Persist: how == "emptied"})
			}
			s := store(t, nodes, Config{})
			ss := create(t, s, "ann", data{"a": 1})
			eventually(t, "the node to have the session", func() bool { return remembers(t, nodes, 2, ss.hash) })
			snapshot := harness.Client(t, nodes, 2).Dump(t.Context(), "session:"+ss.hash).Val()
			memory := nodeMemory(t, nodes, 2)
			without(t, s, nodes, []int{3, 4}, func() { must(t, ss.Destroy(t.Context())) })
			forget := func() {
				switch how {
				case "restarted empty":
					must(t, nodes.Restart(2, true))
				case "emptied":
					must(t, harness.Client(t, nodes, 2).FlushAll(t.Context()).Err())
				default:
					must(t, nodes.Restart(2, true))
					cl := harness.Client(t, nodes, 2)
					must(t, cl.Set(t.Context(), "session:memory", memory, 0).Err())
					must(t, cl.RestoreReplace(t.Context(), "session:"+ss.hash, time.Hour, snapshot).Err())
				}
			}
			down(t, s, cutter(t, nodes), 0, 1)
			forget()
			eventually(t, "node 2 to be back", func() bool {
				s.Load(t.Context(), newID())
				return s.c.Status()[2].Up
			})
			if got, err := s.Load(t.Context(), ss.ID()); !errors.Is(err, ErrNoQuorum) {
				t.Errorf("read %v, %v; want no quorum: the nodes that know must be asked", got, err)
			}
			must(t, ss.Set("a", 2))
			if err := ss.Commit(t.Context()); err == nil {
				t.Error("a commit to it succeeded")
			}
			if err := s.Put(t.Context(), ss.ID(), "", nil, time.Now().Add(time.Hour)); err == nil {
				t.Error("a put of it succeeded")
			}
			all(t, s, nodes)
			gone(t, s, ss.ID())
		})
	}
}

// age makes a node's memory begin earlier, also in its records of sessions.
func age(t testing.TB, nodes harness.Set, i int, by time.Duration) {
	t.Helper()
	cl, ctx := harness.Client(t, nodes, i), t.Context()
	memory := nodeMemory(t, nodes, i)
	old := stamp(micros(memory)-by.Microseconds()) + memory[timeWidth:]
	must(t, cl.Set(ctx, "session:memory", old, 0).Err())
	for _, key := range harness.Keys(t, nodes, i) {
		if cl.Type(ctx, key).Val() != "hash" {
			continue
		}
		if h := cl.HGet(ctx, key, "h").Val(); strings.HasPrefix(h, memory[:versionWidth]) {
			must(t, cl.HSet(ctx, key, "h", old[:versionWidth]+h[versionWidth:]).Err())
		}
	}
}

// A node whose memory began after a session was issued, and that does not have
// it, cannot deny it. A node with an older memory can, because it only missed
// the session.
func TestMemory_NodeYoungerThanTheSessionDoesNotDenyIt(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	settled(t, s)
	for i := range nodes.Len() {
		age(t, nodes, i, time.Duration(10-i)*time.Hour) // 0, 1 and 2 are authoritative
	}
	settled(t, s)
	var ss *Session
	without(t, s, nodes, []int{3, 4}, func() { ss = create(t, s, "ann", nil) })
	only(t, s, nodes, 2, 3, 4)
	load(t, s, ss.ID()) // 3 and 4 are not authoritative, and began before it was issued
	if _, err := s.Load(t.Context(), newID()); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("a session of which nothing is known: %v", err)
	}
	all(t, s, nodes)
	gone(t, s, newID())
}

func TestStore_RollingRestartOfPersistentNodesLosesNothing(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		ss := create(t, s, "ann", data{"a": 1})
		for i := range nodes.Len() {
			must(t, nodes.Restart(i, false))
			eventually(t, "the node to be back", func() bool {
				s.Load(t.Context(), newID())
				return s.c.Status()[i].Up
			})
			has(t, load(t, s, ss.ID()), "a", 1)
		}
		has(t, load(t, store(t, nodes, Config{}), ss.ID()), "a", 1)
	})
}

// got receives one answer.
type got chan any

func (g got) Receive(_ *nodeset.Node, reply any, err error) {
	if err != nil {
		reply = err
	}
	g <- reply
}

// A write for a memory that the node has lost has no effect there, because the
// session may have ended in the meantime.
func TestMemory_WriteForALostOneDoesNothing(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"a": 1})
	eventually(t, "the node to have the session", func() bool { return remembers(t, nodes, 0, ss.hash) })
	settled(t, s)
	lost := s.memories.of(0)
	must(t, harness.Client(t, nodes, 0).FlushAll(t.Context()).Err())
	for _, q := range []question{
		s.putQuestion(ss.hash, ss.rec, replacement{}), s.tombstoneQuestion(ss.hash, ss.rec.deadline),
		s.commitQuestion(ss.hash, s.clock.after(""), map[string]string{"a": "=2"}, ""),
		{script: logoutScript, key: "session:epoch:ann", args: []any{s.userKeep(), s.clock.after("")}, now: time.Now()},
	} {
		q.write = true
		answer := make(got, 1)
		n := s.c.Nodes()[0]
		s.send(n, q, s.common(q), n.MemoryID(), lost, answer)
		words, _ := (<-answer).([]any)
		if len(words) != 2 || words[0] != any("memory") || words[1] == any(lost) {
			t.Errorf("%s: %v", q.script.Name(), words)
		}
	}
	if keys := harness.Keys(t, nodes, 0); len(keys) != 1 || keys[0] != "session:memory" {
		t.Errorf("the node has %q", keys)
	}
	load(t, s, ss.ID())
}

// A record of one node that cannot be written to a quorum is not returned,
// because the next read might not find it.
func TestStore_Load_FailsIfTheAnswerCannotReachAQuorum(t *testing.T) {
	t.Parallel()
	nodes := harness.Real(t, 3, redisserver.Options{Persist: true})
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"a": 1})
	settled(t, s)
	cl := harness.Client(t, nodes, 0)
	newer := s.clock.after("") + "=2"
	must(t, cl.HSet(t.Context(), "session:"+ss.hash, "fa", newer).Err()) // as a write that reached no other node
	down(t, s, cutter(t, nodes), 2)
	full := harness.Client(t, nodes, 1)
	must(t, full.ConfigSet(t.Context(), "maxmemory", "1").Err())
	if got, err := s.Load(t.Context(), ss.ID()); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("read %v, %v", got, err)
	}
	must(t, full.ConfigSet(t.Context(), "maxmemory", "0").Err())
	has(t, load(t, s, ss.ID()), "a", 2)
}

// The end of a session is on nodes 0, 1 and 2. Node 2 loses it in the first
// minute of the set, and is probed again by a process whose clock is half a
// minute behind. By the clocks its memory is the oldest, but it still does not
// vote.
func TestMemory_ClockSkewMakesNoneOlder(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"a": 1})
	without(t, s, nodes, []int{3, 4}, func() { must(t, ss.Destroy(t.Context())) })
	emptied(t, s, nodes, 2)
	age(t, nodes, 2, 30*time.Second)
	settled(t, s)
	only(t, s, nodes, 2, 3, 4)
	if got, err := s.Load(t.Context(), ss.ID()); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("read %v, %v; want no quorum: the nodes that know must be asked", got, err)
	}
	all(t, s, nodes)
	gone(t, s, ss.ID())
}

// Processes that start at the same time probe the nodes of a new set one after
// another. All nodes still vote.
func TestMemory_NodesOfANewSetAreOfOneAge(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Create(dead, "ann", nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	create(t, s, "ann", nil)
	settled(t, s)
	for i := range nodes.Len() {
		age(t, nodes, i, time.Duration(i)*time.Second)
	}
	settled(t, s)
	for _, away := range [][]int{{0, 1}, {3, 4}} {
		down(t, s, cutter(t, nodes), away...)
		gone(t, s, newID())
		all(t, s, nodes)
	}
}

// A session that was read is restored to nodes 2, 3 and 4. In the meantime it
// was logged out on 0, 1 and 2, and node 2 has lost the log-out. Node 2 must
// not count, although it had the session when it was read.
func TestStore_Load_DoesNotCountANodeThatLostItsDataSince(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"a": 1})
	settled(t, s)
	newer := s.clock.after("") + "=2"
	must(t, harness.Client(t, nodes, 2).HSet(t.Context(), "session:"+ss.hash, "fa", newer).Err()) // as a write that reached no other node
	only(t, s, nodes, 2, 3, 4)
	now := time.Now()
	r := &reading{s: s, hashed: ss.hash, now: now}
	p := s.newQuorumCall(question{script: loadScript, key: s.cfg.Prefix + ss.hash, args: touch(now, 0), now: now})
	r.p, p.take, p.enough = p, r.take, r.enough
	must(t, p.run(t.Context()))
	v, err := r.settle("load")
	must(t, err)
	all(t, s, nodes)
	without(t, s, nodes, []int{3, 4}, func() { must(t, s.LogoutAll(t.Context(), "ann", nil)) })
	emptied(t, s, nodes, 2)
	only(t, s, nodes, 2, 3, 4)
	if rec, err := r.conclude(t.Context(), "load", v); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("read %v, %v", rec, err)
	}
	all(t, s, nodes)
	gone(t, s, ss.ID())
}

// A process that starts while a node is frozen never waits for it, and its
// writes reach the node later.
func TestStore_DoesNotWaitToProbeAFrozenNode(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		create(t, store(t, nodes, Config{}), "ann", nil)
		s := store(t, nodes, Config{})
		nodes.Pause(4)
		ss := create(t, s, "ann", nil)
		load(t, s, ss.ID())
		if !s.c.Status()[4].Up {
			t.Error("it waited until the node was down")
		}
		nodes.Resume(4)
		eventually(t, "the frozen node to have the session", func() bool {
			return harness.Client(t, nodes, 4).Exists(t.Context(), "session:"+ss.hash).Val() == 1
		})
	})
}
