package cache

import (
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

func oneNode() []*node { return []*node{{Node: &nodeset.Node{}}} }

// An answer that was in flight when its key, its node's messages or its tags
// were dropped is from before the drop.
func TestNear_RefusesAnswersFromBeforeADrop(t *testing.T) {
	t.Parallel()
	for name, event := range map[string]func(*near){
		"nothing": func(*near) {},
		"drop":    func(m *near) { m.drop("k") },
		"gap":     func(m *near) { m.nodes[0].gaps.Add(1) },
		"tag":     func(m *near) { m.dropTagged() },
	} {
		for _, late := range []bool{false, true} {
			m, err := newNear(&Near{Size: 10, Bytes: 1 << 20, TTL: time.Minute}, oneNode())
			if err != nil {
				t.Fatal(err)
			}
			m.born = m.born.Add(-time.Second)
			m.nodes[0].heard.Store(int64(time.Since(m.born)))
			ticket := m.begin("k", 0)
			if !late {
				event(m)
			}
			m.put("k", 0, ticket, "old", &entry{tagged: true}, time.Minute)
			if late {
				event(m)
			}
			if _, _, ok := m.get("k"); ok != (name == "nothing") {
				t.Errorf("%s, after the answer %v: served %v", name, late, ok)
			}
			m.close()
		}
	}
}

func TestNear_ServesNothingOfANodeNotHeardFrom(t *testing.T) {
	t.Parallel()
	m, err := newNear(&Near{Size: 10, Bytes: 1 << 20, TTL: time.Minute}, oneNode())
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.born = m.born.Add(-time.Hour)
	for _, silent := range []time.Duration{0, 2 * maxSilence} {
		m.nodes[0].heard.Store(int64(time.Since(m.born) - silent))
		m.put("k", 0, m.begin("k", 0), "v", &entry{}, time.Minute)
		if _, _, ok := m.get("k"); ok != (silent == 0) {
			t.Errorf("silent for %v: served %v", silent, ok)
		}
	}
}

// While no messages arrive, a node may delete the entry that it has just
// returned.
func TestNear_KeepsNothingBetweenAGapAndTheNextMessage(t *testing.T) {
	t.Parallel()
	m, err := newNear(&Near{Size: 10, Bytes: 1 << 20, TTL: time.Minute}, oneNode())
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	e, n := subscriber[string]{&Cache[string]{near: m}}, m.nodes[0].node.Node
	for _, sign := range []bool{true, false, true} {
		e.Gap(n)
		if sign {
			e.Heard(n, time.Now())
		}
		m.put("k", 0, m.begin("k", 0), "v", &entry{}, time.Minute)
		if _, _, ok := m.get("k"); ok != sign {
			t.Errorf("message since: %v, served: %v", sign, ok)
		}
	}
}

func BenchmarkNearHit(b *testing.B) {
	m, err := newNear(&Near{Size: 10, Bytes: 1 << 20, TTL: time.Hour}, oneNode())
	if err != nil {
		b.Fatal(err)
	}
	defer m.close()
	m.nodes[0].heard.Store(int64(time.Hour)) // all messages have arrived for as long as this runs
	m.put("k", 0, m.begin("k", 0), "value", &entry{}, time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := m.get("k"); !ok {
			b.Fatal("no hit")
		}
	}
}

func TestNear_ServesANilInterface(t *testing.T) {
	t.Parallel()
	m, err := newNear(&Near{Size: 10, Bytes: 1 << 20, TTL: time.Minute}, oneNode())
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.nodes[0].heard.Store(int64(time.Hour))
	m.put("k", 0, m.begin("k", 0), nil, &entry{}, time.Minute)
	if v, ok, err := (&Cache[any]{near: m}).getNear("k"); v != nil || !ok || err != nil {
		t.Errorf("nearest = %v, %v, %v, want nil, true, nil", v, ok, err)
	}
}

func TestConfig_FillsTheDefaultsOfNear(t *testing.T) {
	t.Parallel()
	want := Near{Size: 10_000, Bytes: 64 << 20, TTL: 10 * time.Second}
	if got := *(Config[string]{Near: &Near{}}).withDefaults().Near; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
