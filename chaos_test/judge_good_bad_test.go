//go:build unix

package chaos_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// good is a history with nothing wrong in it: client 1 is stopped while it has "k" and overlaps with client 2 because
// of that; its late write is refused.
func good() *history {
	return &history{
		Attempts: []attempt{
			{Client: 1, Op: 1, Way: "WithLock", Key: "k", Call: 10, Acquired: 20, Token: 5, Until: 30, Return: 35},
			{Client: 2, Op: 1, Way: "WithLock", Key: "k", Call: 15, Acquired: 36, Token: 9, Until: 50, Return: 55},
			{Client: 2, Op: 2, Way: "TryLock", Key: "k", Call: 21, Return: 22, Err: "held by another"},
			{Client: 1, Op: 2, Way: "lease", Key: "k", Call: 60, Acquired: 70, Token: 10, Until: 500, Return: 510, Lost: true},
			{Client: 2, Op: 3, Way: "WithLock", Key: "k", Call: 300, Acquired: 400, Token: 12, Until: 450, Return: 460},
			{Client: 1, Op: 3, Way: lastLap, Key: "k", Call: 600, Acquired: 601, Token: 13, Until: 602, Return: 603},
			{Client: 1, Op: 4, Way: "WithLock", Key: "other", Call: 20, Acquired: 25, Token: 5, Until: 400, Return: 401},
		},
		Accesses: []access{
			{At: 25, Client: 1, Key: "k", Token: 5, Accepted: true},
			{At: 28, Client: 1, Key: "k", Token: 5, Write: true, Base: 0, Accepted: true},
			{At: 71, Client: 1, Key: "k", Token: 10, Accepted: true},
			{At: 410, Client: 2, Key: "k", Token: 12, Accepted: true},
			{At: 420, Client: 2, Key: "k", Token: 12, Write: true, Base: 1, Accepted: true},
			{At: 490, Client: 1, Key: "k", Token: 10, Write: true, Base: 1},
		},
		Stalls: []stall{{Client: 1, From: 200, To: 480}},
		Faults: []span{{Name: "client 1 stopped", From: 200, To: 480}},
	}
}

// TestEachCheckSeesItsFault spoils a good history in one place at a time. The named check must see it; what others
// see beside it is theirs.
func TestEachCheckSeesItsFault(t *testing.T) {
	at := func(h *history, client, op int) *attempt {
		for i := range h.Attempts {
			if a := &h.Attempts[i]; a.Client == client && a.Op == op {
				return a
			}
		}
		panic("no such attempt")
	}
	tests := []struct {
		name, check string
		spoil       func(h *history)
	}{
		{"a token twice", "tokens are given once", func(h *history) { at(h, 2, 3).Token = 10 }},
		{"a token that falls", "later acquisitions have larger tokens", func(h *history) { at(h, 2, 3).Token = 8 }},
		{"a token that stays", "later acquisitions have larger tokens", func(h *history) { at(h, 1, 3).Token = 12 }},
		{"two holders", "holders do not overlap", func(h *history) { at(h, 2, 1).Acquired = 29 }},
		{"two holders, the longer one first", "holders do not overlap", func(h *history) {
			at(h, 1, 1).Until = 600
			h.Stalls = nil
			at(h, 2, 1).Until = 37
		}},
		{"two holders, another's stall", "holders do not overlap", func(h *history) { h.Stalls[0].Client = 3 }},
		{"two holders, the stall came later", "holders do not overlap", func(h *history) { h.Stalls[0].From = 401 }},
		{"an old token let in", "the store is guarded", func(h *history) { h.Accesses[5].Accepted = true }},
		{"an old token let in to read", "the store is guarded", func(h *history) {
			h.Accesses = append(h.Accesses, access{Key: "k", Token: 11, Accepted: true})
		}},
		{"a lost update", "the store is guarded", func(h *history) { h.Accesses[4].Base = 0 }},
		{"a new token refused", "the store is guarded", func(h *history) { h.Accesses[4].Accepted = false }},
		{"an odd error", "errors have their faults", func(h *history) { at(h, 2, 2).Odd = true }},
		{"a key that cannot be had", "every key can be had again", func(h *history) { at(h, 1, 3).Acquired = 0 }},
		{"nobody came to the last lap", "every key can be had again", func(h *history) { at(h, 1, 3).Way = "WithLock" }},
		{"no fault", "something was done", func(h *history) { h.Faults = nil }},
		{"no progress under the fault", "something was done", func(h *history) { h.Faults[0].From = 399 }},
		{"no writes", "something was done", func(h *history) { h.Accesses = h.Accesses[:1] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := good()
			tt.spoil(h)
			for _, c := range checks {
				if c.name == tt.check {
					if got := c.check(h); len(got) == 0 {
						t.Errorf("%q sees nothing", c.name)
					}
					return
				}
			}
			t.Fatalf("no check is called %q", tt.check)
		})
	}
}

func TestAGoodHistoryPasses(t *testing.T) {
	h := good()
	for _, c := range checks {
		if got := c.check(h); len(got) > 0 {
			t.Errorf("%s: %s", c.name, strings.Join(got, "; "))
		}
	}
	if _, excused := h.overlaps(); excused != 1 {
		t.Errorf("%d overlaps were excused, want 1", excused)
	}
	if verdict, _ := sequential(h, sequentialTimeout); verdict != "" {
		t.Error(verdict)
	}
}

// TestABadHistoryIsDrawnWithItsFaults is about what a person gets to look at.
func TestABadHistoryIsDrawnWithItsFaults(t *testing.T) {
	h := good()
	h.Attempts[4].Token = 8
	dir := t.TempDir()
	if err := h.keep(dir); err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		"history.json": {`"token": 8`, "client 1 stopped"},
		"history.html": {"acquire k -\\u003e 8", "client 1 stopped", "did not run"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not contain %q", name, want)
			}
		}
	}
}

// TestTheSequentialModelSeesFaults does the same with porcupine.
func TestTheSequentialModelSeesFaults(t *testing.T) {
	for name, spoil := range map[string]func(h *history){
		"a token twice":           func(h *history) { h.Attempts[4].Token = 10 },
		"a token that falls":      func(h *history) { h.Attempts[4].Token = 8 },
		"two holders":             func(h *history) { h.Attempts[1].Acquired = 29 },
		"two holders, no stall":   func(h *history) { h.Stalls = nil },
		"an old token let in":     func(h *history) { h.Accesses[5].Accepted = true },
		"a new token refused":     func(h *history) { h.Accesses[4].Accepted = false },
		"two holders, never over": func(h *history) { h.Attempts[0].Until, h.Attempts[0].Return = 1000, 1001 },
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			spoil(h)
			if verdict, _ := sequential(h, sequentialTimeout); verdict == "" {
				t.Error("porcupine finds a sequential explanation")
			}
		})
	}
}

// Where a node forgets and nobody can see it, two may have a key at one time; everything else is judged as ever.
func TestWhereANodeForgetsUnseenOnlyExclusionIsLetGo(t *testing.T) {
	h := good()
	h.Unseen = 10
	h.Faults = append(h.Faults, span{Name: "a node emptied by hand", From: 22, To: 22})
	second := &h.Attempts[1]
	second.Acquired = 29 // while the first has the key until 30
	broken, excused := h.overlaps()
	if len(broken) > 0 || excused == 0 {
		t.Errorf("overlaps: %q, %d excused", broken, excused)
	}
	if verdict, _ := sequential(h, sequentialTimeout); verdict != "" {
		t.Error(verdict)
	}
	for _, at := range []int64{5, 31} { // it forgot long before the first had the key, or when the first had it no more
		other := *h
		other.Faults = append(good().Faults, span{Name: "a node emptied by hand", From: at, To: at})
		if broken, _ := other.overlaps(); len(broken) == 0 {
			t.Errorf("with a node emptied at %d the overlap is let go too", at)
		}
	}
	second.Token = 5
	if len(givenOnce(h)) == 0 {
		t.Error("a token that two were given is let go too")
	}
	second.Token = 4
	second.Call = 21
	if len(inOrder(h)) == 0 {
		t.Error("a token that falls is let go too")
	}
	if verdict, _ := sequential(h, sequentialTimeout); verdict == "" {
		t.Error("there is an order for tokens that fall")
	}
}
