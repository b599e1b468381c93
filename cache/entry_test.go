package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestEntry_IsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	e, ok := parseEntry("w 1764039000123456 1000 2000 30 abc 2\nx a b\ny c\none\ntwo")
	want := entry{stamp: 1764039000123456, soft: time.Second, hard: 2 * time.Second, delta: 30 * time.Millisecond,
		run: "abc", tagged: true, data: "one\ntwo"}
	if !ok || e != want {
		t.Errorf("read %+v, %v", e, ok)
	}
}

func TestEntry_RefusesWhatNoScriptWrote(t *testing.T) {
	t.Parallel()
	if e, ok := parseEntry("n 922337203685477579 9223372036854 0 0 - 0\n"); !ok || e.soft != 9223372036854*time.Millisecond {
		t.Errorf("the largest numbers are read as %+v, %v", e, ok)
	}
	for _, text := range []string{
		"", "v", "w 1 2 3 4 r 0", "w 1 2 3 4 r\n", "w 1 2 3 4 r 0 0\n", "w 1 2 3 4  r 0\n", "w  1 2 3 4 r 0\n", "w  2 3 4 r 0\n", "V 1 2 3 4 r 0\n", " 1 2 3 4 r 0\n",
		"w 1 2 3 4 r\n0 0\n", "w\n1 2 3 4 r 0\n", "w 1\n2 3 4 r 0\n", "w 1 2 3 4 r 1\n", "w 1 2 3 4 r 2\na\n", "w 1 2 3 4 r -1\n", "w 1 2 3 4 r\t0\n",
		"w -1 2 3 4 r 0\n", "w 1 2. 3 4 r 0\n", "w 1 2 3 x r 0\n", "w 1 9223372036855 3 4 r 0\n", "w 99223372036854775807 2 3 4 r 0\n",
	} {
		if e, ok := parseEntry(text); ok {
			t.Errorf("%q is read as %+v", text, e)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add("w 1764039000123456 1000 2000 30 abc 1\nx a\ndata")
	f.Add("n 1 0 0 0 - 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		e, ok := parseEntry(text)
		if ok && (e.stamp < 0 || e.hard < 0 || e.soft < 0 || e.delta < 0 || len(e.data) > len(text)) {
			t.Errorf("%q is read as %+v", text, e)
		}
	})
}

func TestEntry_AgeDecidesItsUse(t *testing.T) {
	t.Parallel()
	e := entry{stamp: 1e6, hard: 10 * time.Second}
	for _, tc := range []struct {
		at           time.Duration
		soft, delta  time.Duration
		chance       float64
		expired, due bool
	}{
		{at: 0, chance: 1e-9},
		{at: 10*time.Second - 1000, chance: 1},
		{at: 10 * time.Second, chance: 1, expired: true, due: true},
		{at: 4 * time.Second, soft: 5 * time.Second, chance: 1e-9}, // a load that took no time is not begun early
		{at: 5 * time.Second, soft: 5 * time.Second, chance: 1, due: true},
		{at: 4 * time.Second, soft: 5 * time.Second, delta: time.Second, chance: 0.5},
		{at: 4 * time.Second, soft: 5 * time.Second, delta: time.Second, chance: 0.3, due: true}, // -ln 0.3 > 1
		{at: 9 * time.Second, delta: time.Second, chance: 0.3, due: true},
	} {
		e.soft, e.delta = tc.soft, tc.delta
		now := e.stamp + tc.at.Microseconds()
		if e.expired(now) != tc.expired || e.due(now, tc.chance) != tc.due {
			t.Errorf("%+v: expired %v, due %v", tc, e.expired(now), e.due(now, tc.chance))
		}
	}
}

func TestPlacement_IsEvenAndMovesLittle(t *testing.T) {
	t.Parallel()
	names := []string{"10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379", "10.0.0.4:6379", "10.0.0.5:6379"}
	all, fewer := newPlacement(names), newPlacement(names[:4])
	const keys = 20000
	var owned, second [5]int
	for i := range keys {
		key := fmt.Sprint("user:", i)
		owner, standIn := all.of(key)
		owned[owner]++
		second[standIn]++
		if owner == standIn {
			t.Fatal("a node stands in for itself")
		}
		moved, _ := fewer.of(key)
		switch {
		case owner != 4 && moved != owner:
			t.Fatal("a key moved whose owner stayed")
		case owner == 4 && moved != standIn:
			t.Fatal("a key whose owner left did not move to the one that stood in")
		}
	}
	for i := range names {
		for _, n := range []int{owned[i], second[i]} {
			if n < keys/5*9/10 || n > keys/5*11/10 {
				t.Errorf("node %d owns %d keys and is the stand-in for %d", i, owned[i], second[i])
			}
		}
	}
}

func TestPlacement_DoesNotDependOnTheOrderOfNodes(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e"}
	shuffled := append([]string(nil), names...)
	rand.Shuffle(len(names), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	p, q := newPlacement(names), newPlacement(shuffled)
	for i := range 1000 {
		key := fmt.Sprint(i)
		a, b := p.of(key)
		c, d := q.of(key)
		if names[a] != shuffled[c] || names[b] != shuffled[d] {
			t.Fatalf("%s is on %s, %s or on %s, %s", key, names[a], names[b], shuffled[c], shuffled[d])
		}
	}
	if owner, standIn := newPlacement(names[:1]).of("k"); owner != 0 || standIn != -1 {
		t.Errorf("one node: %d, %d", owner, standIn)
	}
}
