//go:build unix

package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// TestSemaphore_RefusesWhatAKeyWithALimitDoesNotGrant spoils the slots of a history for the model that knows slots, not
// tokens.
func TestSemaphore_RefusesWhatAKeyWithALimitDoesNotGrant(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(h *history)
		want  porcupine.CheckResult
	}{
		"nothing":                  {func(h *history) {}, porcupine.Ok},
		"one slot twice":           {func(h *history) { attemptOf(h, 3, 9).Acquired = 59 }, porcupine.Illegal},
		"a slot that never ends":   {func(h *history) { attemptOf(h, 2, 6).Until, attemptOf(h, 2, 6).Return = 1000, 1001 }, porcupine.Illegal},
		"a slot that there is not": {func(h *history) { attemptOf(h, 2, 7).Slot = 3 }, porcupine.Illegal},
		"a slot less than none":    {func(h *history) { attemptOf(h, 2, 7).Slot = -1 }, porcupine.Illegal},
		"four holders of three": {func(h *history) {
			*attemptOf(h, 2, 5) = attempt{Client: 2, Op: 5, Key: "n", Limit: 3, Slot: 2, Call: 41, Acquired: 65, Token: 20, Until: 80, Return: 81}
		}, porcupine.Illegal},
		"a holder that was killed": {func(h *history) { attemptOf(h, 2, 6).Return = 0 }, porcupine.Ok},
		"a token that falls":       {func(h *history) { attemptOf(h, 1, 7).Token = 1 }, porcupine.Ok},
		"one slot twice, where a node was emptied": {func(h *history) {
			attemptOf(h, 3, 9).Acquired = 59
			h.Unseen, h.Faults = 10, append(h.Faults, span{From: 50, To: 50})
		}, porcupine.Ok},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			tt.spoil(h)
			if got := porcupine.CheckOperationsTimeout(semaphore, h.slotOperations(), sequentialTimeout); got != tt.want {
				t.Errorf("porcupine says %s, want %s", got, tt.want)
			}
		})
	}
}

// A search that takes too long says so. It is not taken for a good history.
func TestSequential_SaysThatItDidNotDecide(t *testing.T) {
	h := &history{Accesses: []access{{At: 2000, Client: 1, Key: "s", Token: 9, Reads: true, Version: 99, Accepted: true}}}
	for n := range 60 {
		h.Attempts = append(h.Attempts, attempt{Client: n, Op: 1, Key: "s", Reads: true, Call: 1, Acquired: 1000, Token: 9, Until: 1001, Return: 1999})
	}
	broken, undecided := sequential(h, 100*time.Millisecond)
	if broken != "" || !strings.Contains(undecided, "did not decide") {
		t.Errorf("broken %q, undecided %q", broken, undecided)
	}
}

// A client that did not run may not know that it has lost what it shares or its slot, and a node that was emptied by hand
// may grant both again.
func TestJudge_ExcusesReadersAndSlotsAsItDoesHolders(t *testing.T) {
	stalls := func(client int, from, to int64) func(h *history) {
		return func(h *history) { h.Stalls = append(h.Stalls, stall{Client: client, From: from, To: to}) }
	}
	emptied := func(at int64) func(h *history) {
		return func(h *history) {
			h.Unseen, h.Faults = 10*int64(time.Millisecond), append(h.Faults, span{From: at, To: at})
		}
	}
	const ms = int64(time.Millisecond)
	for _, tt := range []struct {
		name            string
		spoil           func(h *history)
		excuse, another func(h *history)
	}{
		{"a writer beside a reader", func(h *history) { attemptOf(h, 3, 8).Acquired = 159 * ms }, stalls(3, 155*ms, 158*ms), stalls(1, 155*ms, 158*ms)},
		{"one slot twice", func(h *history) { attemptOf(h, 3, 9).Acquired = 59 * ms }, stalls(2, 50*ms, 70*ms), stalls(1, 50*ms, 70*ms)},
		{"a reader that sees a write", func(h *history) { attemptOf(h, 3, 7).Again = 2 }, stalls(3, 140*ms, 150*ms), stalls(3, 90*ms, 95*ms)},
		{"a reader that sees a write after its time", func(h *history) { attemptOf(h, 3, 7).Again = 2 },
			func(h *history) { attemptOf(h, 3, 7).Until = 157 * ms }, func(h *history) { attemptOf(h, 3, 7).Until = 159 * ms }},
		{"a writer beside a reader, a node emptied", func(h *history) { attemptOf(h, 3, 8).Acquired = 159 * ms }, emptied(158 * ms), emptied(50 * ms)},
		{"a reader that sees a write, a node emptied", func(h *history) { attemptOf(h, 3, 7).Again = 2 }, emptied(158 * ms), emptied(50 * ms)},
		{"four holders of three, a node emptied", func(h *history) { attemptOf(h, 1, 7).Acquired = 85 * ms }, emptied(86 * ms), emptied(5 * ms)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := func(excuse func(h *history)) []string {
				h := inMilliseconds(good())
				tt.spoil(h)
				excuse(h)
				overlaps, _ := h.overlaps()
				return append(append(overlaps, steady(h)...), belowLimit(h)...)
			}
			if got := broken(tt.excuse); len(got) > 0 {
				t.Errorf("not excused: %q", got)
			}
			if got := broken(tt.another); len(got) == 0 {
				t.Error("excused by what happened to another, or at another time")
			}
		})
	}
}

// inMilliseconds returns what happened to keys that several can hold, on a scale on which grace is short.
func inMilliseconds(h *history) *history {
	h.Attempts = slices.DeleteFunc(h.Attempts, func(a attempt) bool { return a.Key != "s" && a.Key != "n" })
	for i := range h.Attempts {
		a := &h.Attempts[i]
		for _, t := range []*int64{&a.Call, &a.Acquired, &a.Until, &a.Return, &a.Reread} {
			*t *= int64(time.Millisecond)
		}
	}
	h.Stalls, h.Faults = nil, nil
	return h
}

// A reader may join one of its process that a writer has overtaken, because a node was emptied. Its token is then smaller
// than the writer's.
func TestInOrder_AllowsAReaderThatJoinsOneThatWasOvertaken(t *testing.T) {
	h := &history{Unseen: 100, Attempts: []attempt{
		{Client: 1, Op: 1, Key: "s", Reads: true, Call: 10, Acquired: 20, Token: 5, Until: 90, Return: 91},
		{Client: 2, Op: 1, Key: "s", Call: 40, Acquired: 50, Token: 7, Until: 60, Return: 61},
		{Client: 1, Op: 2, Key: "s", Reads: true, Call: 52, Acquired: 53, Token: 5, Until: 80, Return: 81},
	}}
	if got := inOrder(h); len(got) == 0 {
		t.Error("it is allowed although no node was emptied")
	}
	h.Faults = []span{{From: 30, To: 31}}
	if got := inOrder(h); len(got) > 0 {
		t.Error(got)
	}
	h.Attempts[2].Reads = false
	if got := inOrder(h); len(got) == 0 {
		t.Error("a writer with a smaller token is allowed, too")
	}
}
