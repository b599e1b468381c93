package nodeset

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// What the models of this package have in common: a model plays random
// sequences of events, and a search looks for one after which two processes
// hold one key.

// sequence is one sequence of a model.
type sequence struct {
	rng      *rand.Rand
	now      int
	words    int
	acquired int
	finished int  // resizes
	traced   bool // what happens is written down
	trace    []string
}

// player is a model. It embeds a sequence.
type player interface {
	begin(seed uint64)
	act()
	violated() bool // two processes hold the key
	played() *sequence
}

func (s *sequence) played() *sequence { return s }

func (s *sequence) word() string { s.words++; return fmt.Sprint("w", s.words) }

func (s *sequence) log(format string, args ...any) {
	if s.traced {
		s.trace = append(s.trace, fmt.Sprintf("%4d  ", s.now-1000)+fmt.Sprintf(format, args...))
	}
}

// search plays sequences of so many events on new models, and returns the first
// that breaks exclusion, with its number, and how often others acquired the key
// and finished a resize.
func search[M player](model func() M, events, from, runs int) (trace []string, found, acquired, finished int) {
	play := func(seed int, traced bool) (s *sequence, violated bool) {
		m := model()
		s = m.played()
		s.traced = traced
		m.begin(uint64(seed))
		for i := 0; i < events && !violated; i++ {
			m.act()
			violated = m.violated()
		}
		return s, violated
	}
	for seed := from; seed < from+runs; seed++ {
		s, violated := play(seed, false)
		if violated {
			s, _ = play(seed, true)
			return s.trace, seed, acquired, finished
		}
		acquired, finished = acquired+s.acquired, finished+s.finished
	}
	return nil, 0, acquired, finished
}

// findsFault checks that a search on a model without a rule finds what the rule
// is needed for in the sequence of this number. If the rules have changed, it
// looks for another, among most.
func findsFault[M player](t *testing.T, model func() M, events, number, most int) {
	t.Helper()
	trace, found, _, _ := search(model, events, number, 1)
	if trace == nil {
		trace, found, _, _ = search(model, events, 0, most)
	}
	switch {
	case trace == nil:
		t.Error("the search finds nothing wrong with that")
	case found != number:
		t.Errorf("it is seed %d now that shows it:\n%s", found, strings.Join(trace, "\n"))
	case testing.Verbose():
		t.Logf("found:\n%s", strings.Join(trace, "\n"))
	}
}
