package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestStore_Load_FindsASessionInEveryProcessUntilDestroyed(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		a, b := store(t, nodes, Config{}), store(t, nodes, Config{})
		made := create(t, a, "ann", data{"cart": 3})
		if len(made.ID()) != idWidth || made.User() != "ann" {
			t.Errorf("created %q of %q", made.ID(), made.User())
		}
		ss := load(t, b, made.ID())
		has(t, ss, "cart", 3)
		if ss.User() != "ann" || !ss.Deadline().Equal(made.Deadline()) || ss.Born().IsZero() {
			t.Errorf("loaded %+v, want %+v", ss.rec, made.rec)
		}
		set(t, ss, "cart", 4)
		set(t, ss, "name", "Ann")
		has(t, load(t, a, made.ID()), "cart", 4)
		ss = load(t, a, made.ID())
		ss.Delete("name")
		must(t, ss.Commit(t.Context()))
		if _, ok, err := Get[string](load(t, b, made.ID()), "name"); ok || err != nil {
			t.Errorf("a deleted field exists: %v, %v", ok, err)
		}
		must(t, b.Destroy(t.Context(), made.ID()))
		gone(t, a, made.ID())
		gone(t, b, made.ID())
		must(t, ss.Set("cart", 5))
		if err := ss.Commit(t.Context()); !errors.Is(err, ErrSessionGone) {
			t.Errorf("a commit after the end: %v", err)
		}
		gone(t, a, made.ID())
		must(t, a.Destroy(t.Context(), made.ID())) // again, without effect
	})
}

// Each operation of a usual session costs every node one script.
func TestStore_EachOperationIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	create(t, s, "warm", nil) // the first operation learns the memory of each node
	settled(t, s)
	asked := func() (n int64) {
		for i := range nodes.Len() {
			n += nodes.Commands(i)["evalsha"] + nodes.Commands(i)["eval"]
		}
		return n
	}
	var ss *Session
	put := newID()
	settled(t, s)
	before := asked()
	must(t, s.Put(t.Context(), put, "bob", nil, time.Now().Add(time.Hour)))
	settled(t, s)
	if n := asked() - before - 10; n != 2*5 { // one to find none, one to create it
		t.Errorf("a first put took %d scripts on 5 nodes", n)
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"create", func() (err error) { ss, err = s.Create(t.Context(), "ann", data{"a": 1}); return err }},
		{"load", func() (err error) { ss, err = s.Load(t.Context(), ss.ID()); return err }},
		{"commit", func() error { ss.Set("a", 2); return ss.Commit(t.Context()) }},
		{"renew", func() error { return ss.Renew(t.Context()) }},
		{"list", func() error { _, err := s.List(t.Context(), "ann"); return err }},
		{"log out, and keep one", func() error { return s.LogoutAll(t.Context(), "ann", ss) }},
		{"log out", func() error { return s.LogoutAll(t.Context(), "ann", nil) }},
		{"destroy", func() error { return ss.Destroy(t.Context()) }},
		{"put again", func() error { return s.Put(t.Context(), put, "bob", nil, time.Now().Add(time.Hour)) }},
		{"fetch", func() error { _, _, err := s.Fetch(t.Context(), put); return err }},
	} {
		settled(t, s)
		before := asked()
		must(t, step.do())
		settled(t, s)
		if n := asked() - before - 10; n != 5 { // 10 of settled
			t.Errorf("%s took %d scripts on 5 nodes", step.name, n)
		}
	}
}

// settled waits until every answer in flight has arrived, and the answers to
// the commands that it causes.
func settled(t testing.TB, s *Store) {
	t.Helper()
	for range 2 {
		p := s.newQuorumCall(question{script: loadScript, key: s.cfg.Prefix + "nothing", args: touch(time.Now(), 0), now: time.Now()})
		n := 0
		p.take = func(reply) error { n++; return nil }
		p.enough = func() bool { return n == len(s.c.Nodes()) }
		must(t, p.run(t.Context()))
	}
}

func TestStore_Load_RefusesMadeUpIDs(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		ss := create(t, s, "ann", nil)
		id := ss.ID()
		for _, made := range []string{
			"", id[:42], id + "A", id + id, strings.Repeat("A", 1<<20), newID(), hash(id), ss.Handle(), ss.Handle()[1:],
			strings.Repeat("=", 43), id[:42] + "\x00", id[:42] + "*", "user:ann" + strings.Repeat("A", 35),
		} {
			gone(t, s, made)
			if _, ok, err := s.Fetch(t.Context(), made); ok || err != nil {
				t.Errorf("Fetch(%.50q): %v, %v", made, ok, err)
			}
			if made != ss.Handle() {
				must(t, s.Destroy(t.Context(), made))
			}
		}
		load(t, s, id)
		for i := range nodes.Len() {
			for _, key := range harness.Keys(t, nodes, i) {
				if want := []string{"session:memory", "session:" + hash(id), "session:user:ann", "session:epoch:ann"}; !slices.Contains(want, key) {
					t.Errorf("node %d has %q", i, key)
				}
				if strings.Contains(key, id) {
					t.Errorf("node %d knows the id", i)
				}
			}
		}
	})
}

func TestStore_Load_EnforcesBothDeadlines(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{Idle: time.Hour, Lifetime: 2 * time.Hour})
	ss := create(t, s, "ann", nil)
	if idle, deadline := time.Until(ss.IdleDeadline()), time.Until(ss.Deadline()); idle > time.Hour || idle < 59*time.Minute ||
		deadline > 2*time.Hour || deadline < 119*time.Minute {
		t.Fatalf("idle %v, deadline %v", idle, deadline)
	}
	if short := create(t, s, "ann", nil, Lifetime(time.Minute)); short.IdleDeadline().After(short.Deadline()) {
		t.Error("its idle deadline is later than its absolute deadline")
	}
	const deadline, idle = headWidth - 2*timeWidth, headWidth - timeWidth
	shift := func(at int, by time.Duration) { // as if so much more time had passed
		settled(t, s)
		for i := range nodes.Len() {
			cl, key := harness.Client(t, nodes, i), "session:"+ss.hash
			h := cl.HGet(t.Context(), key, "h").Val()
			h = h[:at] + stamp(time.Now().Add(by).UnixMicro()) + h[at+timeWidth:]
			must(t, cl.HSet(t.Context(), key, "h", h).Err())
		}
	}
	shift(idle, 50*time.Minute) // a sixth has passed
	ss = load(t, s, ss.ID())
	if left := time.Until(ss.IdleDeadline()); left < 59*time.Minute {
		t.Errorf("%v are left after a load", left)
	}
	shift(idle, 55*time.Minute) // a twelfth has passed: nothing is written
	if left := time.Until(load(t, s, ss.ID()).IdleDeadline()); left > 56*time.Minute {
		t.Errorf("%v are left; the load wrote a deadline too early", left)
	}
	shift(deadline, 30*time.Minute)
	shift(idle, 20*time.Minute)
	if ss = load(t, s, ss.ID()); ss.IdleDeadline().After(ss.Deadline()) {
		t.Error("a load set the idle deadline beyond the absolute one")
	}
	shift(idle, -time.Second)
	gone(t, s, ss.ID())
	shift(idle, time.Hour)
	load(t, s, ss.ID())
	shift(deadline, -time.Second)
	gone(t, s, ss.ID())
}

func TestStore_NamesBadInput(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	c := open(t, nodes, cluster.Config{})
	_, err := New(c, Config{Lifetime: -1, Idle: 2 * maxLifetime, MaxSize: -1, Prefix: strings.Repeat("x", 300)})
	for _, field := range []string{"Config.Lifetime", "Config.Idle", "Config.MaxSize", "Config.Prefix"} {
		if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	s := store(t, nodes, Config{MaxSize: 100})
	ss := create(t, s, "ann", data{"a": strings.Repeat("x", 40)})
	long := strings.Repeat("x", 300)
	for name, err := range map[string]error{
		"too large":       ss.Set("b", strings.Repeat("y", 60)),
		"no name":         ss.Set("", 1),
		"a long name":     ss.Set(long, 1),
		"no JSON":         ss.Set("c", func() {}),
		"no locker":       s.Update(t.Context(), ss.ID(), nil),
		"nobody's":        s.LogoutAll(t.Context(), "", nil),
		"long user":       s.LogoutAll(t.Context(), long, nil),
		"another's":       s.LogoutAll(t.Context(), "bob", ss),
		"grace":           ss.Renew(t.Context(), Grace(time.Hour)),
		"a long put":      s.Put(t.Context(), newID(), "", []byte(long), time.Now().Add(time.Hour)),
		"a put too late":  s.Put(t.Context(), newID(), "", nil, time.Now().Add(1000*time.Hour)),
		"renew to a long": ss.Renew(t.Context(), As(long)),
	} {
		if !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Create(t.Context(), long, nil); !errors.Is(err, cluster.ErrConfig) {
		t.Error(err)
	}
	if _, err := s.Create(t.Context(), "", nil, Lifetime(1000*time.Hour)); !errors.Is(err, cluster.ErrConfig) {
		t.Error(err)
	}
	if _, ok, err := Get[int](ss, "a"); !ok || !errors.Is(err, ErrDecode) {
		t.Errorf("a string as int: %v, %v", ok, err)
	}
	ss.Delete("a")
	must(t, ss.Set("b", strings.Repeat("y", 60)))
}

func TestStore_BelowAQuorumFailsAndNamesNoID(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"a": 1})
	down(t, s, nodes.Stop, 0, 1)
	has(t, load(t, s, ss.ID()), "a", 1)
	set(t, ss, "a", 2)
	nodes.Stop(2)
	must(t, ss.Set("a", 3))
	for name, err := range map[string]error{
		"load":    func() error { _, err := s.Load(t.Context(), ss.ID()); return err }(),
		"unknown": func() error { _, err := s.Load(t.Context(), newID()); return err }(),
		"create":  func() error { _, err := s.Create(t.Context(), "ann", nil); return err }(),
		"list":    func() error { _, err := s.List(t.Context(), "ann"); return err }(),
		"commit":  ss.Commit(t.Context()),
		"renew":   ss.Renew(t.Context()),
		"logout":  s.LogoutAll(t.Context(), "ann", nil),
		"destroy": s.Destroy(t.Context(), ss.ID()),
	} {
		var q *cluster.QuorumError
		if !errors.As(err, &q) || q.Need != 3 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, secret := range []string{ss.ID(), hash(ss.ID()), ss.hash} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error reveals the session", name)
			}
		}
	}
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Load(dead, ss.ID()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A node with foreign data under a session's key counts as one that does not
// answer.
func TestStore_Load_ForeignDataIsNoAnswer(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"a": 1})
	settled(t, s)
	for i, fields := range [][]any{{"a", "b"}, {"h", "x", "fa", "short"}, {"x", "1", "until", "1", "fa", "short"}} {
		cl, key := harness.Client(t, nodes, i), "session:"+ss.hash
		must(t, cl.Del(t.Context(), key).Err())
		must(t, cl.HSet(t.Context(), key, fields...).Err())
	}
	if _, err := s.Load(t.Context(), ss.ID()); !errors.Is(err, ErrNoQuorum) {
		t.Error(err)
	}
}
