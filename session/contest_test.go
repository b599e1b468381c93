package session

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// rival makes one node vote for another session, as if its LogoutAll had just
// begun. It returns a function that continues that LogoutAll.
func rival(t testing.TB, s *Store, node int, ss *Session, hashed string) func(lost ...string) error {
	t.Helper()
	from := replacement{old: ss.hash, issue: ss.rec.issue, until: stamp(1), logout: s.clock.after(ss.rec.issue)}
	rec := *ss.rec
	rec.issue = s.clock.after(from.logout)
	w := s.newWrite(s.putQuestion(hashed, &rec, from))
	w.among = map[int]string{node: s.memories.of(node)}
	if c, failed, err := w.wait(t.Context()); err != nil || c.ok != 1 {
		t.Fatalf("%+v, %v, %v", c, failed, err)
	}
	return func(lost ...string) error {
		from.rivals = strings.Join(lost, ",")
		_, err := s.put(t.Context(), "renew", hashed, &rec, from)
		if err != nil {
			s.dispose(hashed, rec.deadline, true)
		}
		return err
	}
}

// withoutEach calls fn with each of three nodes down in turn.
func withoutEach(t testing.TB, s *Store, nodes harness.Set, fn func()) {
	t.Helper()
	for i := range nodes.Len() {
		only(t, s, nodes, i, (i+1)%3)
		fn()
		all(t, s, nodes)
	}
}

// The button "log out everywhere else", clicked in several windows at once,
// leaves one session.
func TestContest_LeavesOneSession(t *testing.T) {
	t.Parallel()
	small, large := strings.Repeat("-", idWidth-1), strings.Repeat("z", idWidth-1)+"w" // smallest and largest as strings
	begin := func(t *testing.T) (s *Store, nodes harness.Set, a, b, c *Session) {
		t.Parallel()
		nodes = harness.Embedded(t, 3)
		s = store(t, nodes, Config{})
		a, b, c = create(t, s, "ann", nil), create(t, s, "ann", nil), create(t, s, "ann", nil)
		settled(t, s)
		return s, nodes, a, b, c
	}
	t.Run("who has a quorum", func(t *testing.T) {
		s, nodes, a, b, _ := begin(t)
		other := rival(t, s, 2, b, large)
		must(t, s.LogoutAll(t.Context(), "ann", a))
		if err := other(); !errors.Is(err, ErrSessionGone) {
			t.Errorf("the other: %v", err)
		}
		withoutEach(t, s, nodes, func() {
			load(t, s, a.ID())
			gone(t, s, b.ID())
		})
	})
	t.Run("who has a quorum, though the node of a rival lacks its session", func(t *testing.T) {
		s, nodes, a, b, _ := begin(t)
		other := rival(t, s, 2, b, large)
		must(t, harness.Client(t, nodes, 2).Del(t.Context(), "session:"+a.hash).Err())
		must(t, s.LogoutAll(t.Context(), "ann", a))
		if err := other(); !errors.Is(err, ErrSessionGone) {
			t.Errorf("the other: %v", err)
		}
		withoutEach(t, s, nodes, func() {
			load(t, s, a.ID())
			gone(t, s, b.ID())
		})
	})
	t.Run("who has a quorum, after a rival with a clock ahead has conceded", func(t *testing.T) {
		s, nodes, a, b, _ := begin(t)
		ahead := store(t, nodes, Config{})
		settled(t, ahead)
		b.rec.issue = stamp(time.Now().Add(time.Hour).UnixMicro()) + stamp(1)
		rival(t, ahead, 2, b, large)
		ahead.dispose(large, b.rec.deadline, true)
		eventually(t, "it to have conceded", func() bool {
			lost, _ := harness.Client(t, nodes, 2).HGet(t.Context(), "session:"+large, "lost").Result()
			return lost == "1"
		})
		must(t, s.LogoutAll(t.Context(), "ann", a))
		withoutEach(t, s, nodes, func() { load(t, s, a.ID()) })
	})
	t.Run("who has a quorum, on the nodes of a newer one too", func(t *testing.T) {
		s, nodes, a, b, _ := begin(t)
		winner := rival(t, s, 0, a, small+"8")
		rival(t, s, 2, b, large)
		must(t, winner())
		withoutEach(t, s, nodes, func() {
			if rec, err := s.read(t.Context(), "load", small+"8", 0); err != nil {
				t.Errorf("the winner: %v, %v", rec, err)
			}
		})
	})
	t.Run("a rival with a quorum that does not concede", func(t *testing.T) {
		nodes := harness.Embedded(t, 3)
		s := hasty(t, nodes)
		a, b := create(t, s, "ann", nil), create(t, s, "ann", nil)
		settled(t, s)
		rival(t, s, 1, b, small+"8")
		rival(t, s, 2, b, small+"8")
		if err := s.LogoutAll(t.Context(), "ann", a); !errors.Is(err, ErrSessionGone) {
			t.Errorf("%v, want it gone", err)
		}
	})
	t.Run("the largest", func(t *testing.T) {
		s, _, a, b, c := begin(t)
		rival(t, s, 1, b, small+"8")
		rival(t, s, 2, c, small+"4")
		must(t, s.LogoutAll(t.Context(), "ann", a))
		load(t, s, a.ID())
		gone(t, s, b.ID())
		gone(t, s, c.ID())
	})
	t.Run("not the others", func(t *testing.T) {
		s, _, a, b, c := begin(t)
		rival(t, s, 1, b, small+"8")
		other := rival(t, s, 2, c, large)
		if err := s.LogoutAll(t.Context(), "ann", a); !errors.Is(err, ErrSessionGone) {
			t.Errorf("%v, want it gone", err)
		}
		must(t, other())
		if rec, err := s.read(t.Context(), "load", large, 0); err != nil {
			t.Errorf("the largest: %v, %v", rec, err)
		}
	})
	t.Run("none if a rival that ended halfway may have won", func(t *testing.T) {
		s, nodes, a, b, _ := begin(t)
		rival(t, s, 1, b, small+"8")
		only(t, s, nodes, 0, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := s.LogoutAll(ctx, "ann", a); isGone(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want it undecided", err)
		}
		all(t, s, nodes)
	})
	t.Run("the largest with a node down, once the other concedes", func(t *testing.T) {
		s, nodes, a, b, _ := begin(t)
		other := rival(t, s, 1, b, small+"8")
		only(t, s, nodes, 0, 1)
		kept := make(chan error, 1)
		go func() { kept <- s.LogoutAll(t.Context(), "ann", a) }()
		eventually(t, "it to have a node", func() bool {
			by, _ := harness.Client(t, nodes, 0).HGet(t.Context(), "session:epoch:ann", "by").Result()
			return by != "" && by != small+"8"
		})
		if err := other(); !errors.Is(err, ErrSessionGone) {
			t.Errorf("the other: %v, want it gone", err)
		}
		must(t, harness.Receive(t, "the contest to end", kept))
		load(t, s, a.ID())
		gone(t, s, b.ID())
		all(t, s, nodes)
		gone(t, s, b.ID())
	})
	t.Run("not the others with a node down", func(t *testing.T) {
		s, nodes, a, b, _ := begin(t)
		other := rival(t, s, 1, b, large)
		only(t, s, nodes, 0, 1)
		if err := s.LogoutAll(t.Context(), "ann", a); !errors.Is(err, ErrSessionGone) {
			t.Errorf("%v, want it gone", err)
		}
		must(t, other())
		all(t, s, nodes)
	})
	t.Run("none after a log-out of all", func(t *testing.T) {
		s, _, a, b, _ := begin(t)
		other := rival(t, s, 2, b, large)
		must(t, s.LogoutAll(t.Context(), "ann", nil))
		if err := s.LogoutAll(t.Context(), "ann", a); !errors.Is(err, ErrSessionGone) {
			t.Errorf("%v, want it gone", err)
		}
		if err := other(); !errors.Is(err, ErrSessionGone) {
			t.Errorf("the other: %v, want it gone", err)
		}
	})
	t.Run("none that has won before a log-out of all", func(t *testing.T) {
		s, _, a, b, c := begin(t)
		winner := rival(t, s, 0, a, large)
		rival(t, s, 1, b, small+"8")
		rival(t, s, 2, c, small+"4")
		must(t, s.LogoutAll(t.Context(), "ann", nil))
		if err := winner(small+"8", small+"4"); !errors.Is(err, ErrSessionGone) {
			t.Errorf("%v, want it gone", err)
		}
	})
	t.Run("from processes", func(t *testing.T) { contests(t, 20, 0, 1, 2) })
	t.Run("from processes with a node down", func(t *testing.T) { contests(t, 50, 0, 1) })
}

// contests repeats a contest between two processes, each of which keeps another
// session of the same user, on three nodes of which only those in up are up.
func contests(t *testing.T, rounds int, up ...int) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	stores := []*Store{store(t, nodes, Config{}), store(t, nodes, Config{})}
	for _, s := range stores {
		settled(t, s)
	}
	for _, s := range stores {
		if len(up) < nodes.Len() {
			only(t, s, nodes, up...)
		}
	}
	for range rounds {
		var kept [2]*Session
		var errs [2]error
		var wg sync.WaitGroup
		for i, s := range stores {
			kept[i] = create(t, s, "bob", nil)
		}
		for i, s := range stores {
			wg.Go(func() { errs[i] = s.LogoutAll(t.Context(), "bob", kept[i]) })
		}
		wg.Wait()
		left := 0
		for i, err := range errs {
			switch {
			case err == nil:
				load(t, stores[1-i], kept[i].ID())
				left++
			case !errors.Is(err, ErrSessionGone):
				t.Error(err)
			}
		}
		if left != 1 {
			t.Fatalf("%d sessions are left: %v", left, errs)
		}
	}
}

func TestContest_DecidesByWhatNodesTook(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		contested
		want standing
	}{
		{"a quorum", contested{answered: 2, mine: 2}, won},
		{"too few answers", contested{answered: 1, mine: 1, largest: true}, unanswered},
		{"the largest of three", contested{answered: 3, mine: 1, most: 1, largest: true}, won},
		{"not the largest of three", contested{answered: 3, mine: 1, most: 1}, lost},
		{"the largest of two, and a node is missing", contested{answered: 2, mine: 1, most: 1, largest: true}, undecided},
		{"the smaller of two, and a node is missing", contested{answered: 2, mine: 1, most: 1}, lost},
		{"none, and a node is missing", contested{answered: 2, most: 1}, lost},
		{"a larger one has a quorum", contested{answered: 3, mine: 1, most: 2}, lost},
		{"a smaller one has a quorum, and may not know", contested{answered: 3, mine: 1, most: 2, largest: true}, undecided},
	} {
		c := test.contested
		c.nodes, c.quorum = 3, 2
		if got := decide(c); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
