package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// A session library computes the deadline by the clock of the process that
// creates a session. Another process, whose clock is behind, commits to it.
func TestStore_Put_AllowsForClockSkew(t *testing.T) {
	t.Parallel()
	s := store(t, harness.Embedded(t, 3), Config{Lifetime: time.Hour})
	id := newID()
	until := time.Now().Add(time.Hour + 30*time.Second)
	must(t, s.Put(t.Context(), id, "ann", []byte("a"), until))
	if v, ok, err := s.Fetch(context.Background(), id); string(v) != "a" || !ok || err != nil {
		t.Errorf("%q, %v, %v", v, ok, err)
	}
	rec, err := s.read(t.Context(), "load", hash(id), 0)
	must(t, err)
	if moment(rec.deadline).After(until) || moment(rec.idle).Before(until.Truncate(time.Microsecond)) {
		t.Errorf("it ends at %v, but was put until %v", moment(rec.deadline), until)
	}
}

func TestStore_Put_UntilThePastHasExpired(t *testing.T) {
	t.Parallel()
	s := store(t, harness.Embedded(t, 3), Config{})
	id := newID()
	must(t, s.Put(t.Context(), id, "ann", []byte("a"), time.Time{}))
	if v, ok, err := s.Fetch(t.Context(), id); ok || err != nil {
		t.Errorf("%q, %v, %v", v, ok, err)
	}
}

// A later deadline is accepted up to Config.Lifetime after the first Put, and
// refused beyond, so that no reported deadline is wrong.
func TestStore_Put_KeepsALaterDeadlineOrRefusesIt(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{Lifetime: time.Hour})
		id, first := newID(), time.Now()
		must(t, s.Put(t.Context(), id, "ann", []byte("a"), first.Add(time.Minute)))
		later := first.Add(time.Hour)
		must(t, s.Put(t.Context(), id, "ann", []byte("b"), later))
		rec, err := s.read(t.Context(), "load", hash(id), 0)
		must(t, err)
		if !moment(rec.idle).Equal(later.Truncate(time.Microsecond)) {
			t.Errorf("it ends at %v, but was put until %v", moment(rec.idle), later)
		}
		for _, after := range []time.Duration{time.Second, 30 * time.Second} {
			err := s.Put(t.Context(), id, "ann", []byte("c"), moment(rec.deadline).Add(after))
			if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "Config.Lifetime") {
				t.Errorf("%v after its end: %v, want it refused", after, err)
			}
		}
		if v, ok, err := s.Fetch(t.Context(), id); string(v) != "b" || !ok || err != nil {
			t.Errorf("%q, %v, %v", v, ok, err)
		}
	})
}

func TestStore_Put_RefusesWhatIsNoID(t *testing.T) {
	t.Parallel()
	s := store(t, harness.Embedded(t, 1), Config{})
	for _, id := range []string{"", "no token", newID() + "=", strings.Repeat("+", idWidth)} {
		if err := s.Put(t.Context(), id, "ann", nil, time.Now().Add(time.Minute)); !errors.Is(err, cluster.ErrConfig) || isGone(err) {
			t.Errorf("%q: %v, want it named", id, err)
		}
	}
}
