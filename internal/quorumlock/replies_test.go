package quorumlock

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// hostile makes a reply out of what a fuzzer gives: something that a broken node, a proxy, or another service at the
// node's address could answer. Small shapes are replies of the scripts or nearly.
func hostile(shape uint8, a, b int64, text string) (reply any, err error) {
	switch shape % 24 {
	case 0:
		return []any{a, b, int64(0)}, nil
	case 1:
		return []any{int64(1), b, a}, nil
	case 2:
		return []any{int64(0), b, text}, nil
	case 3:
		return []any{a, b, text}, nil
	case 4:
		return []any{a}, nil
	case 5:
		return []any{a, text}, nil
	case 6:
		return []any{a, b}, nil
	case 7:
		return []any{a, b, int64(0), int64(0)}, nil
	case 8:
		return []any{}, nil
	case 9:
		return []any(nil), nil
	case 10:
		return nil, nil
	case 11:
		return a, nil
	case 12:
		return text, nil
	case 13:
		return []any{[]any{a, b, text}}, nil
	case 14:
		return []any{nil, nil, nil}, nil
	case 15:
		return []any{float64(1), float64(b), float64(0)}, nil
	case 16:
		return []any{true, b, a}, nil
	case 17:
		return []any{int(1), int(b), int(0)}, nil
	case 18:
		return map[any]any{a: b}, nil
	case 19:
		return []any{int64(1), errors.New(text), int64(0)}, nil
	case 20:
		return []any{int64(1), b, int64(0)}, redis.Nil // an error beside what would be a grant
	case 21:
		return []any{"1", text, "0"}, nil
	case 22:
		return []int64{1, b, 0}, nil
	}
	return nil, errors.New(text)
}

func addHostile(f *testing.F) {
	for shape := range uint8(24) {
		for _, n := range []int64{0, 2, -1, 1<<53 - 1, 1 << 53, math.MaxInt64, math.MinInt64} {
			f.Add(shape, int64(1), n, "text")
			f.Add(shape, n, int64(5), "")
		}
	}
}

// isGrant is what a grant looks like, said once more.
func isGrant(reply any, err error, span int64) (fence int64, ok bool) {
	words, _ := reply.([]any)
	if err != nil || len(words) != 3 || words[0] != any(int64(1)) {
		return 0, false
	}
	fence, ok1 := words[1].(int64)
	_, ok2 := words[2].(int64)
	return fence, ok1 && ok2 && fence >= span && fence < 1<<53
}

// refuses reports whether a reply is a refusal.
func refuses(reply any, err error) bool {
	granted, _, err := readGrant(reply, err, 1)
	return err == nil && !granted
}

// isShare is isGrant for a reader.
func isShare(reply any, err error) (queued, ok bool) {
	words, _ := reply.([]any)
	if len(words) != 4 {
		return false, false
	}
	_, ok = isGrant(words[:3], err, 1)
	queued = ok && words[3] == any(int64(1))
	return queued, queued || ok && words[3] == any(int64(0))
}

// withWord is a reply with one more word.
func withWord(reply any, word int64) any {
	if words, ok := reply.([]any); ok {
		return append(slices.Clone(words), word)
	}
	return reply
}

func FuzzReplies_NoHostileOneIsAGrant(f *testing.F) {
	addHostile(f)
	f.Fuzz(func(t *testing.T, shape uint8, a, b int64, text string) {
		reply, given := hostile(shape, a, b, text)
		for _, span := range []int64{1, MaxTokenBlock} {
			granted, g, err := readGrant(reply, given, span)
			if fence, want := isGrant(reply, given, span); granted != want || granted && g.fence != fence {
				t.Errorf("readGrant(%#v, %v) = %t, %+v", reply, given, granted, g)
			}
			if granted && (err != nil || g.waiters < 0) {
				t.Errorf("readGrant(%#v, %v) = %+v, %v", reply, given, g, err)
			}
			if g.left != -time.Millisecond && (g.left < 0 || g.left >= aCentury/2*time.Millisecond) {
				t.Errorf("readGrant(%#v, %v): %v are left", reply, given, g.left)
			}
		}
		for _, reply := range []any{reply, withWord(reply, a)} {
			granted, g, err := readShare(reply, given)
			if queued, want := isShare(reply, given); granted != want || g.queued != queued || (err == nil) != (want || refuses(reply, given)) {
				t.Errorf("readShare(%#v, %v) = %t, %+v, %v", reply, given, granted, g, err)
			}
		}
		result, _, err := readExtension(reply, given)
		words, _ := reply.([]any)
		for kind, want := range map[int64]Result{1: Granted, 2: Healed} {
			if is := given == nil && len(words) == 1 && words[0] == any(kind); (result == want) != is {
				t.Errorf("readExtension(%#v, %v) = %v", reply, given, result)
			}
		}
		if (result == Failed) != (err != nil) || result != Granted && result != Healed && result != Refused && result != Failed {
			t.Errorf("readExtension(%#v, %v) = %v, %v", reply, given, result, err)
		}
		number, isNumber := reply.(int64)
		ours, err := readRelease(reply, given)
		known := given == nil && isNumber && 0 <= number && number <= 2
		if ours != (known && number == 1) || (err == nil) != known {
			t.Errorf("readRelease(%#v, %v) = %t, %v", reply, given, ours, err)
		}
		found, err := readFound(reply, given)
		if (found == FoundOurs) != ours || (err == nil) != known || (found == FoundNothing) != (known && number == 0) {
			t.Errorf("readFound(%#v, %v) = %v, %v", reply, given, found, err)
		}
		touched, err := readTouch(reply, given)
		if known := known && number <= 1; touched != (known && number == 1) || (err == nil) != known {
			t.Errorf("readTouch(%#v, %v) = %t, %v", reply, given, touched, err)
		}
	})
}

func TestReplies_AKeyThatExpiredMeanwhileIsFreeNow(t *testing.T) {
	for pttl, want := range map[int64]time.Duration{-3: -1, -2: 0, -1: -1, 0: 0, 7: 7} {
		granted, g, err := readGrant([]any{int64(0), pttl, "another's"}, nil, 1)
		if granted || err != nil || g.left != want*time.Millisecond {
			t.Errorf("%d ms are read as %v, %t, %v; want %v", pttl, g.left, granted, err, want*time.Millisecond)
		}
	}
}

// Whatever the nodes answer to whatever step: nothing panics, the attempt ends, and it is won only if a quorum granted.
func FuzzAcquire_HostileNodesGrantNothing(f *testing.F) {
	s := harness.Embedded(f, 3)
	c, err := nodeset.Open(f.Context(), nodeset.Config{URLs: s.URLs(), NodeTimeout: 3 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { harness.Close(f, c) })
	red, err := NewRedlock(c, Config{})
	if err != nil {
		f.Fatal(err)
	}
	addHostile(f)
	f.Fuzz(func(t *testing.T, shape uint8, a, b int64, text string) {
		h, err := red.newHold("k", Request{})
		must(t, err)
		h.voting.start = time.Now()
		for i := range h.members {
			h.members[i].inFlight = 1
		}
		grants := 0
		for i, n := range c.Nodes() {
			reply, given := hostile(shape+uint8(i)*uint8(b), a, b, text)
			if _, ok := isGrant(reply, given, 1); ok {
				grants++
			}
			(*acquirer)(h).Receive(n, reply, given)
		}
		// Where their counters differ they are asked to raise them, and answer, in truth, that they do not have the key.
		harness.Receive(t, "the end of the attempt", h.settled)
		h.mu.Lock()
		held, err := h.phase == phaseHeld, h.err
		h.mu.Unlock()
		if held == (err != nil) || held && grants < 2 {
			t.Fatalf("%d grants; held %t, error %v", grants, held, err)
		}
		reply, given := hostile(shape, a, b, text)
		e := &extension{h: h, ttl: time.Second, start: time.Now(), settle: func(Verdict) {}, over: make(chan struct{})}
		h.mu.Lock()
		h.phase, h.round, e.open, h.deadline = phaseHeld, e, 3, time.Now().Add(time.Minute)
		for i := range h.members {
			h.members[i].inFlight++
		}
		h.mu.Unlock()
		for _, n := range c.Nodes() {
			e.Receive(n, reply, given)
			(*bumper)(h).Receive(n, reply, given)
		}
		must(t, h.StartRelease())
		if err := h.AwaitRelease(t.Context()); err == nil {
			t.Fatal("the nodes have released what they never granted")
		}
	})
}
