package fence

import (
	"errors"
	"fmt"
	"testing"
)

// An exhaustive search of the order that seen.go describes. Holders come and go
// as the nodes let them, with the tokens that the nodes would give them; each
// checks whenever it likes, also when it is over. A right holder is never
// refused. One that is over is refused once a holder after it has checked, if
// one of the two writes.

const (
	orderHolders = 4
	orderSteps   = 18
)

// An orderWorld is all that matters at one moment.
type orderWorld struct {
	counter int64 // of a quorum of nodes
	ahead   bool  // a writer that failed has raised the counter of one more node by 1
	holders [orderHolders]orderHolder
	n       int
	known   seen
	passed  [orderHolders]bool // it has checked, and passed
}

type orderHolder struct {
	reader bool
	token  int64
	last   int64 // of its block
	over   bool
	after  [orderHolders]bool // those that were over when it began
}

// an orderRule is what a storage does.
type orderRule struct{ write, read judgement }

// begin adds a holder.
func (w *orderWorld) begin(h orderHolder) {
	for i := range w.n {
		h.after[i] = w.holders[i].over
	}
	w.holders[w.n] = h
	w.n++
}

// holding returns the holders that are right: a writer, or readers.
func (w *orderWorld) holding() (writer int, readers []int) {
	writer = -1
	for i := range w.n {
		switch h := w.holders[i]; {
		case h.over:
		case h.reader:
			readers = append(readers, i)
		default:
			writer = i
		}
	}
	return writer, readers
}

// next calls step with each world after w, and what happened; fault says what
// went wrong then.
func (w orderWorld) next(r orderRule, step func(what string, after orderWorld, fault string)) {
	writer, readers := w.holding()
	grow := func(what string, change func(*orderWorld)) {
		if w.n == orderHolders {
			return
		}
		after := w
		change(&after)
		step(what, after, "")
	}
	if writer < 0 && len(readers) == 0 {
		for block := range int64(2) {
			grow(fmt.Sprintf("a writer draws %d", block+1), func(w *orderWorld) {
				first := w.counter + 1
				w.counter, w.ahead = first+block, false
				w.begin(orderHolder{token: first, last: w.counter})
			})
		}
	}
	if writer < 0 {
		grow("a reader", func(w *orderWorld) { w.begin(orderHolder{reader: true, token: w.counter}) })
		if w.ahead {
			grow("a reader that sees what failed", func(w *orderWorld) {
				w.counter, w.ahead = w.counter+1, false
				w.begin(orderHolder{reader: true, token: w.counter})
			})
		}
	}
	for _, i := range readers {
		grow("a reader that joins", func(w *orderWorld) { w.begin(orderHolder{reader: true, token: w.holders[i].token}) })
	}
	if !w.ahead {
		after := w
		after.ahead = true
		step("a writer fails", after, "")
	}
	for i := range w.n {
		w.of(i, r, grow, step)
	}
}

// of is what one holder does.
func (w orderWorld) of(i int, r orderRule, grow func(string, func(*orderWorld)), step func(string, orderWorld, string)) {
	h, name := w.holders[i], fmt.Sprintf("holder %d", i+1)
	if !h.over {
		after := w
		after.holders[i].over = true
		step(name+" ends", after, "")
	}
	if !h.over && !h.reader {
		grow(name+" becomes a reader", func(w *orderWorld) {
			w.holders[i].over = true
			w.begin(orderHolder{reader: true, token: h.last})
		})
	}
	if !h.over && !h.reader && h.token < h.last {
		grow(name+" hands over", func(w *orderWorld) {
			w.holders[i].over = true
			w.begin(orderHolder{token: h.token + 1, last: h.last})
		})
	}
	after, judge, fault, late := w, r.write, "", false
	if h.reader {
		judge = r.read
	}
	known, err := judge(w.known, "k", h.token)
	for j := range w.n {
		late = late || w.passed[j] && w.holders[j].after[i] && !(h.reader && w.holders[j].reader)
	}
	switch {
	case err != nil && !h.over:
		fault = fmt.Sprintf("%s is right, and refused: %v", name, err)
	case err == nil && late:
		fault = name + " is late, and passes"
	case err != nil && known != w.known:
		fault = name + " is refused, and changes what is known"
	case err == nil:
		after.known, after.passed[i] = known, true
	}
	step(name+" checks", after, fault)
}

// search returns how a rule fails in the fewest steps, or nothing, and how many
// worlds there are.
func (r orderRule) search() (story []string, worlds int) {
	type from struct {
		before orderWorld
		what   string
	}
	start := orderWorld{counter: 1}
	came, level := map[orderWorld]from{start: {}}, []orderWorld{start}
	for range orderSteps {
		var more []orderWorld
		for _, w := range level {
			w.next(r, func(what string, after orderWorld, fault string) {
				if fault != "" && story == nil {
					story = []string{what, fault}
					for at := w; at != start; at = came[at].before {
						story = append([]string{came[at].what}, story...)
					}
				}
				if _, there := came[after]; !there {
					came[after] = from{w, what}
					more = append(more, after)
				}
			})
			if story != nil {
				return story, len(came)
			}
		}
		level = more
	}
	return nil, len(came)
}

func TestSeen_RefusesAllThatAreLateAndNoneThatIsRight(t *testing.T) {
	story, worlds := orderRule{seen.write, seen.read}.search()
	if story != nil {
		t.Errorf("%q", story)
	}
	t.Logf("%d worlds", worlds)
}

// The search finds what is wrong with other rules.
func TestSeen_TheSearchFindsWrongRules(t *testing.T) {
	stale := func(s seen, key string, token, newest int64) (seen, error) {
		if newest > token {
			return s, &StaleError{Key: key, Token: token, Newest: newest}
		}
		return s, nil
	}
	for name, r := range map[string]orderRule{
		"a reader's equal token does not refuse a writer": {func(s seen, key string, token int64) (seen, error) {
			if s, err := stale(s, key, token, max(s.reader, s.writer)); err != nil {
				return s, err
			}
			return seen{token, s.reader}, nil
		}, seen.read},
		"a writer's equal token is refused": {func(s seen, key string, token int64) (seen, error) {
			if token == s.writer {
				return s, ErrStale
			}
			return s.write(key, token)
		}, seen.read},
		"readers are not kept": {seen.write, func(s seen, key string, token int64) (seen, error) {
			return stale(s, key, token, s.writer)
		}},
		"readers refuse readers": {seen.write, func(s seen, key string, token int64) (seen, error) {
			if s, err := stale(s, key, token, max(s.reader, s.writer)); err != nil {
				return s, err
			}
			return s.read(key, token)
		}},
		"the last reader is kept": {seen.write, func(s seen, key string, token int64) (seen, error) {
			after, err := s.read(key, token)
			if err == nil {
				after.reader = token
			}
			return after, err
		}},
		"late readers pass": {seen.write, func(s seen, _ string, token int64) (seen, error) {
			return seen{s.writer, max(s.reader, token)}, nil
		}},
		"a reader is checked as a writer": {seen.write, seen.write},
		"a writer is checked as a reader": {seen.read, seen.read},
	} {
		story, _ := r.search()
		if story == nil {
			t.Errorf("%s: nothing is found", name)
		}
		t.Logf("%s: %q", name, story)
	}
}

func TestSeen_NamesTheNewestHolder(t *testing.T) {
	for _, tt := range []struct {
		s             seen
		token, newest int64
		reader        bool
	}{
		{seen{9, 5}, 7, 9, false}, {seen{9, 9}, 7, 9, true}, {seen{9, 9}, 9, 9, true}, {seen{5, 9}, 7, 9, true}, {seen{9, 8}, 8, 9, false},
	} {
		var got *StaleError
		_, err := tt.s.write("k", tt.token)
		if !errors.As(err, &got) || *got != (StaleError{"k", tt.token, tt.newest, tt.reader}) {
			t.Errorf("%+v, token %d: %v", tt.s, tt.token, err)
		}
		rank := max(writerRank(tt.s.writer), readerRank(tt.s.reader))
		if *outranked("k", tt.token, rank) != *got {
			t.Errorf("by rank: %+v, want %+v", outranked("k", tt.token, rank), got)
		}
	}
}
