package nodeset

import (
	"errors"
	"testing"
	"time"
)

func TestResizeMark_IsThatOfAProgramWhichMeetsTheNodeFirst(t *testing.T) {
	t.Parallel()
	three := record{set: "s", epoch: 2, quorum: 2, names: "a,b,c"}
	four := record{set: "s", epoch: 3, quorum: 3, names: "a,b,c,d"}
	now := stamp{client: 1_000_000, node: 1_000_000}
	on := func(change func(m *mark)) mark {
		m := mark{memory: "m", state: stateRipe, run: "r", synced: true, data: "d", files: true, begun: now.before(time.Hour), since: now.before(time.Hour), id: "a", record: three, final: true}
		if change != nil {
			change(&m)
		}
		return m
	}
	lasting := server{run: "other", files: true, syncs: true, whole: true, now: now}
	for name, tt := range map[string]struct {
		on     mark
		by     string // of this name, by default a
		s      server
		write  bool
		memory string
		state  markState
		step   step
		id     string
		fails  error
	}{
		"it runs on":                          {on: on(nil), s: server{run: "r", now: now}, memory: "m", state: stateRipe, step: step{record: three}, id: "a"},
		"it does not tell":                    {on: on(nil), s: server{now: now}, memory: "m", state: stateRipe, step: step{record: three}, id: "a"},
		"it restarted":                        {on: on(nil), s: server{run: "other", now: now}, write: true, memory: "new", state: stateSeen, step: step{record: three}, id: "a"},
		"it restarted, and syncs every write": {on: on(nil), s: lasting, write: true, memory: "m", state: stateRipe, step: step{record: three}, id: "a"},
		"it restarted while two sizes count":  {on: on(func(m *mark) { m.record, m.was = four, three }), s: server{run: "other", now: now}, write: true, memory: "new", state: stateSeen, step: step{record: four, was: three}, id: "a"},
		"it restarted, and is about to leave": {on: on(func(m *mark) {
			m.record, m.was, m.id = three, record{set: "s", epoch: 1, quorum: 3, names: "a,b,c,d"}, "d"
		}), by: "d", s: server{run: "other", now: now}, write: true, memory: "new", state: stateSeen, step: step{record: three, was: record{set: "s", epoch: 1, quorum: 3, names: "a,b,c,d"}}, id: "d"},
		"it restarted after it left":                          {on: on(func(m *mark) { m.id = "d" }), by: "d", s: server{run: "other", now: now}, write: true, memory: "new", state: stateSeen, step: step{record: three}, id: "d"},
		"it restarted after it left, and a step is under way": {on: on(func(m *mark) { m.record, m.was, m.id = four, three, "x" }), by: "x", s: server{run: "other", now: now}, write: true, memory: "new", state: stateSeen, step: step{record: four, was: three}, id: "x"},
		"it restarted with the data of another":               {on: on(nil), by: "x", s: server{run: "other", now: now}, fails: errUnplaced},
		"it was proposed as a node, and restarted":            {on: on(func(m *mark) { m.final = false }), s: server{run: "other", now: now}, memory: "new", state: stateSeen},
		"it restarted with what was to come after it":         {on: on(func(m *mark) { m.to = four }), s: server{run: "other", now: now}, write: true, memory: "new", state: stateSeen, step: step{record: three}, id: "a"},
	} {
		text := tt.on.String()
		if tt.by == "" {
			tt.by = "a"
		}
		m, write, err := resizeMark(tt.by, text, tt.s, trust{quarantine: time.Minute}, func() string { return "new" })
		if !errors.Is(err, tt.fails) || write != tt.write || m.memory != tt.memory || m.state != tt.state || m.id != tt.id || m.to != (record{}) || m.step() != tt.step {
			t.Errorf("%s: %+v, write %t, %v", name, m, write, err)
		}
		if write && m.run != tt.s.run {
			t.Errorf("%s: the mark is still of run %s", name, m.run)
		}
	}
}
