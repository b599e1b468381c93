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

// A node that missed the renewal has a tombstone without a successor: the others still tell where the session went.
func TestATombstoneThatTellsTheSuccessorCountsForTheGrace(t *testing.T) {
	t.Parallel()
	until, to := stamp(time.Now().Add(time.Hour).UnixMicro()), newID()
	answers := []answer{
		{node: 0, record: &record{gone: true, to: to, until: until}}, {node: 1, record: &record{gone: true}},
	}
	v := judge(answers, func(*answer) bool { return true }, 0)
	if v.grave.to != to {
		t.Error("the successor is not found")
	}
}

// What one node says that can not be is not written to the others.
func TestWhatANodeMakesUpIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := store(t, harness.Embedded(t, 3), Config{})
	huge := strings.Repeat("9", timeWidth) + strings.Repeat("f", versionWidth-timeWidth)
	for _, made := range [][]any{
		{"newer", huge}, {"newer", huge + "0"}, {"newer", "x"}, {"newer", 7}, {"newer"},
		{"ok", huge[:timeWidth], ""}, {"ok", "never", ""}, {"ok", "", "epoch:ann"},
	} {
		var c count
		if err := c.take(reply{status: made[0].(string), rest: made[1:]}); err == nil {
			t.Errorf("%.60v was believed: %+v", made, c)
		}
	}
	ann := make([]any, 2*maxListed)
	for i := 0; i < len(ann); i += 2 {
		ann[i], ann[i+1] = newID(), []any{}
	}
	for _, made := range [][]any{
		{"", []any{}, stamp(7)}, {"", ann, huge[:timeWidth]}, {"", ann, stamp(5)}, {"", ann[1:], ""}, {"", []any{}}, {"", "", ""},
	} {
		l := &listing{s: s, from: stamp(6), most: maxListed, found: map[string][]answer{}}
		if err := l.take(reply{node: s.c.Nodes()[0], status: "ok", rest: made}); err == nil {
			t.Errorf("a list that ends with %.60v was believed", made[len(made)-1])
		}
	}
	if v := s.clock.after(huge); len(v) != versionWidth {
		t.Errorf("a version of %d", len(v))
	}
	if _, err := parseRecord([]any{"h", huge + huge[:timeWidth] + huge + huge[:timeWidth] + huge[:timeWidth]}, huge, time.Now(), nil); err == nil {
		t.Error("a record of the year 2286 was believed")
	}
}

// A session library takes the lifetime by the clock of the process that creates a session, and another one, whose clock
// is behind, commits to it.
func TestPutAllowsForClocksThatAreApart(t *testing.T) {
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
		t.Errorf("it ends at %v, and was put until %v", moment(rec.deadline), until)
	}
}

func TestPutUntilLongAgoIsOverAndNoForeignRecord(t *testing.T) {
	t.Parallel()
	s := store(t, harness.Embedded(t, 3), Config{})
	id := newID()
	must(t, s.Put(t.Context(), id, "ann", []byte("a"), time.Time{}))
	if v, ok, err := s.Fetch(t.Context(), id); ok || err != nil {
		t.Errorf("%q, %v, %v", v, ok, err)
	}
}

// A later deadline is kept up to Config.Lifetime from when the session was first put, and refused beyond: nobody is told of
// a deadline that does not hold.
func TestPutKeepsALaterDeadlineOrRefusesIt(t *testing.T) {
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
			t.Errorf("it ends at %v, and was put until %v", moment(rec.idle), later)
		}
		for _, after := range []time.Duration{time.Second, 30 * time.Second} {
			err := s.Put(t.Context(), id, "ann", []byte("c"), moment(rec.deadline).Add(after))
			if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "Config.Lifetime") {
				t.Errorf("%v after its end: %v, want that to be refused", after, err)
			}
		}
		if v, ok, err := s.Fetch(t.Context(), id); string(v) != "b" || !ok || err != nil {
			t.Errorf("%q, %v, %v", v, ok, err)
		}
	})
}

func TestPutNamesWhatIsNoID(t *testing.T) {
	t.Parallel()
	s := store(t, harness.Embedded(t, 1), Config{})
	for _, id := range []string{"", "no token", newID() + "=", strings.Repeat("+", idWidth)} {
		if err := s.Put(t.Context(), id, "ann", nil, time.Now().Add(time.Minute)); !errors.Is(err, cluster.ErrConfig) || isGone(err) {
			t.Errorf("%q: %v, want it named", id, err)
		}
	}
}
