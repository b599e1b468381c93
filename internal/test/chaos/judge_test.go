//go:build unix

package chaos

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// good returns a history without faults. Client 1 is stopped while it holds "k", so it overlaps with client 2, and its
// late write is refused. A third client finds its checkpoint, and then leads the election. Two clients read "s" at the
// same time, one of them twice with one token, and three hold "n", where a token falls between slots.
func good() *history {
	return &history{
		TTL: 1000, Fragile: 3,
		Attempts: []attempt{
			{Client: 1, Op: 1, Way: "WithLock", Key: "k", Call: 10, Acquired: 20, Token: 5, Until: 30, Return: 35},
			{Client: 2, Op: 1, Way: "WithLock", Key: "k", Call: 15, Acquired: 36, Token: 9, Until: 50, Return: 55},
			{Client: 2, Op: 2, Way: "TryLock", Key: "k", Call: 21, Return: 22, Err: "held by another"},
			{Client: 1, Op: 2, Way: "lease", Key: "k", Call: 60, Acquired: 70, Token: 10, Until: 500, Return: 510, Lost: true, Resumed: true},
			{Client: 2, Op: 3, Way: "WithLock", Key: "k", Call: 300, Acquired: 400, Token: 12, Until: 450, Return: 460},
			{Client: 1, Op: 3, Way: lastLap, Key: "k", Call: 600, Acquired: 601, Token: 13, Until: 602, Return: 603},
			{Client: 3, Op: 1, Way: "lease", Key: "k", Call: 610, Acquired: 620, Token: 20, Until: 630, Return: 640, Resumed: true, Found: version{10, 2}},
			{Client: 3, Op: 2, Way: "lease", Key: "k", Call: 650, Acquired: 660, Token: 30, Until: 670, Return: 680, Resumed: true},
			{Client: 3, Op: 3, Way: "campaign", Key: electionKey, Candidate: "c", Call: 10, Acquired: 20, Token: 7, Until: 30, Return: 40},
			{Client: 3, Op: 4, Way: "campaign", Key: electionKey, Candidate: "unreported", Call: 50, Return: 60, Err: "lost"},
			{Client: 3, Op: 5, Way: "campaign", Key: electionKey, Candidate: "d", Call: 5e9, Acquired: 6e9, Token: 9, Until: 10e9, Return: 11e9},
			{Client: 3, Op: 6, Way: "campaign", Key: electionKey, Candidate: lastCandidate, Call: 12e9, Acquired: 13e9, Token: 10, Until: 14e9, Return: 15e9},
			{Client: 1, Op: 4, Way: "WithLock", Key: "other", Call: 20, Acquired: 25, Token: 5, Until: 400, Return: 401},

			{Client: 1, Op: 5, Way: "WithLock", Key: "s", Call: 100, Acquired: 101, Token: 3, Until: 110, Return: 111},
			{Client: 2, Op: 4, Way: "WithLock", Key: "s", Reads: true, Call: 112, Acquired: 120, Token: 3, Until: 150, Return: 151, Saw: 1, Again: 1, Reread: 149},
			{Client: 3, Op: 7, Way: "WithLock", Key: "s", Reads: true, Call: 105, Acquired: 125, Token: 4, Until: 160, Return: 161, Saw: 1, Again: 1, Reread: 158},
			{Client: 2, Op: 5, Way: "WithLock", Key: "s", Reads: true, Call: 126, Acquired: 127, Token: 3, Until: 140, Return: 141},
			{Client: 3, Op: 8, Way: "WithLock", Key: "s", Call: 130, Acquired: 162, Token: 6, Until: 170, Return: 171},

			{Client: 1, Op: 6, Way: "WithLock", Key: "n", Limit: 3, Slot: 0, Call: 20, Acquired: 21, Token: 4, Until: 100, Return: 101},
			{Client: 2, Op: 6, Way: "WithLock", Key: "n", Limit: 3, Slot: 1, Call: 22, Acquired: 30, Token: 5, Until: 60, Return: 61},
			{Client: 2, Op: 7, Way: "WithLock", Key: "n", Limit: 3, Slot: 2, Call: 35, Acquired: 40, Token: 9, Until: 90, Return: 91},
			{Client: 3, Op: 9, Way: "WithLock", Key: "n", Limit: 3, Slot: 1, Call: 40, Acquired: 62, Token: 8, Until: 90, Return: 91},
			{Client: 1, Op: 7, Way: "WithLock", Key: "n", Limit: 3, Slot: 0, Call: 50, Acquired: 100, Token: 7, Until: 120, Return: 121},
		},
		Accesses: []access{
			{At: 25, Client: 1, Key: "k", Token: 5, Accepted: true},
			{At: 28, Client: 1, Key: "k", Token: 5, Write: true, Base: 0, Accepted: true},
			{At: 71, Client: 1, Key: "k", Token: 10, Version: 1, Accepted: true},
			{At: 410, Client: 2, Key: "k", Token: 12, Version: 1, Accepted: true},
			{At: 420, Client: 2, Key: "k", Token: 12, Write: true, Base: 1, Accepted: true},
			{At: 490, Client: 1, Key: "k", Token: 10, Write: true, Base: 1},

			{At: 102, Client: 1, Key: "s", Token: 3, Accepted: true},
			{At: 103, Client: 1, Key: "s", Token: 3, Write: true, Base: 0, Accepted: true},
			{At: 121, Client: 2, Key: "s", Token: 3, Reads: true, Version: 1, Accepted: true},
			{At: 126, Client: 3, Key: "s", Token: 4, Reads: true, Version: 1, Accepted: true},
			{At: 148, Client: 2, Key: "s", Token: 3, Reads: true, Version: 1, Accepted: true},
			{At: 152, Client: 1, Key: "s", Token: 3, Write: true, Base: 1}, // late
			{At: 157, Client: 3, Key: "s", Token: 4, Reads: true, Version: 1, Accepted: true},
			{At: 163, Client: 3, Key: "s", Token: 6, Version: 1, Accepted: true},
			{At: 164, Client: 3, Key: "s", Token: 6, Write: true, Base: 1, Accepted: true},
			{At: 180, Client: 2, Key: "s", Token: 3, Reads: true}, // late
		},
		Deposits: []deposit{
			{version: version{10, 1}, Client: 1, Key: "k", Call: 72, Kept: true},
			{version: version{10, 2}, Client: 1, Key: "k", Call: 74}, // unknown outcome, until it is found
			{version: version{10, 3}, Client: 1, Key: "k", Call: 490},
			{version: version{20, 1}, Client: 3, Key: "k", Call: 621, Kept: true},
			{version: version{20, 2}, Client: 3, Key: "k", Call: 622, Kept: true, Cleared: true},
		},
		Watches: []watch{{Client: 1, From: 1, To: 12e9}, {Client: 3, From: 1, To: 15e9}},
		Sightings: []sighting{
			{Client: 1, At: 5},
			{Client: 1, Candidate: "c", Token: 7, At: 25},
			{Client: 3, Candidate: "c", Token: 7, Asked: 22, At: 26},
			{Client: 3, Candidate: "unreported", Token: 8, At: 56},
			{Client: 1, At: 70},
			{Client: 1, Candidate: "d", Token: 9, At: 6e9},
			{Client: 3, Candidate: "d", Token: 9, At: 6e9},
			{Client: 3, Candidate: lastCandidate, Token: 10, At: 13e9},
		},
		Stalls:  []stall{{Client: 1, From: 200, To: 480}},
		Faults:  []span{{Name: "client 1 stopped", From: 200, To: 480}, {Name: "node 0 crashed", From: 700, To: 1.5e9, Outage: true}},
		Resizes: []span{{Name: "resized to 2 nodes", From: 5, To: 3e9}},
	}
}

// attemptOf returns the attempt of a client with this number.
func attemptOf(h *history, client, op int) *attempt {
	return &h.Attempts[slices.IndexFunc(h.Attempts, func(a attempt) bool { return a.Client == client && a.Op == op })]
}

// accessAt returns the access of this time.
func accessAt(h *history, at int64) *access {
	return &h.Accesses[slices.IndexFunc(h.Accesses, func(a access) bool { return a.At == at })]
}

// TestJudge_EachCheckSeesItsFault spoils a good history in one place at a time. The named check must find it; other
// checks may find faults as well.
func TestJudge_EachCheckSeesItsFault(t *testing.T) {
	tests := []struct {
		name, check string
		spoil       func(h *history)
	}{
		{"a token twice", "tokens are given once", func(h *history) { attemptOf(h, 2, 3).Token = 10 }},
		{"a token that falls", "later acquisitions have larger tokens", func(h *history) { attemptOf(h, 2, 3).Token = 8 }},
		{"a token that stays", "later acquisitions have larger tokens", func(h *history) { attemptOf(h, 1, 3).Token = 12 }},
		{"two holders", "holders do not overlap", func(h *history) { attemptOf(h, 2, 1).Acquired = 29 }},
		{"two holders, the longer one first", "holders do not overlap", func(h *history) {
			attemptOf(h, 1, 1).Until = 600
			h.Stalls = nil
			attemptOf(h, 2, 1).Until = 37
		}},
		{"a reader beside a writer", "holders do not overlap", func(h *history) { attemptOf(h, 2, 4).Acquired = 109 }},
		{"a writer beside a reader", "holders do not overlap", func(h *history) { attemptOf(h, 3, 8).Acquired = 159 }},
		{"a writer beside a reader, a longer reader has ended", "holders do not overlap", func(h *history) {
			attemptOf(h, 3, 8).Acquired = 145
			attemptOf(h, 3, 7).Until = 144
		}},
		{"one slot twice", "holders do not overlap", func(h *history) { attemptOf(h, 3, 9).Acquired = 59 }},
		{"one slot twice, another slot between", "holders do not overlap", func(h *history) { attemptOf(h, 1, 7).Acquired = 99 }},
		{"a slot beside a holder of all", "holders do not overlap", func(h *history) { attemptOf(h, 2, 7).Limit = 0 }},
		{"two holders, another's stall", "holders do not overlap", func(h *history) { h.Stalls[0].Client = 3 }},
		{"two holders, the stall came later", "holders do not overlap", func(h *history) { h.Stalls[0].From = 401 }},
		{"two slots with one token", "tokens are given once", func(h *history) { attemptOf(h, 2, 7).Token = 8 }},
		{"a slot whose token falls", "later acquisitions have larger tokens", func(h *history) { attemptOf(h, 1, 7).Token = 3 }},
		{"a slot whose token stays", "later acquisitions have larger tokens", func(h *history) { attemptOf(h, 1, 7).Token = 4 }},
		{"a reader with less than the writer before it", "later acquisitions have larger tokens", func(h *history) { attemptOf(h, 2, 4).Token = 2 }},
		{"a writer with the token of the reader before it", "later acquisitions have larger tokens", func(h *history) { attemptOf(h, 3, 8).Token = 4 }},
		{"a writer with less than a reader, and more than the one after that", "later acquisitions have larger tokens", func(h *history) {
			attemptOf(h, 3, 7).Token = 7
		}},
		{"four holders of three", "no more hold a key than its limit", func(h *history) { attemptOf(h, 1, 7).Acquired = 85 }},
		{"four holders of three, a fourth slot", "no more hold a key than its limit", func(h *history) {
			*attemptOf(h, 2, 5) = attempt{Client: 2, Key: "n", Limit: 3, Slot: 0, Acquired: 31, Until: 50, Token: 20}
		}},
		{"a slot that there is not", "no more hold a key than its limit", func(h *history) { attemptOf(h, 2, 7).Slot = 3 }},
		{"a reader that sees a write", "readers see one version", func(h *history) { attemptOf(h, 3, 7).Again = 2 }},
		{"a reader that saw a write undone", "readers see one version", func(h *history) { attemptOf(h, 2, 4).Saw = 2 }},
		{"a writer with a reader's token let in", "the store is guarded", func(h *history) { accessAt(h, 152).Accepted = true }},
		{"a reader after a newer writer let in", "the store is guarded", func(h *history) { accessAt(h, 180).Accepted = true }},
		{"a reader refused", "the store is guarded", func(h *history) { accessAt(h, 148).Accepted = false }},
		{"a reader that reads an old version", "the store is guarded", func(h *history) { accessAt(h, 157).Version = 0 }},
		{"a writer that reads an old version", "the store is guarded", func(h *history) { accessAt(h, 163).Version = 0 }},
		{"a lost write of a key that readers share", "the store is guarded", func(h *history) { accessAt(h, 164).Base = 0 }},
		{"an old token let in", "the store is guarded", func(h *history) { h.Accesses[5].Accepted = true }},
		{"an old token let in to read", "the store is guarded", func(h *history) {
			h.Accesses = append(h.Accesses, access{Key: "k", Token: 11, Accepted: true})
		}},
		{"a lost update", "the store is guarded", func(h *history) { h.Accesses[4].Base = 0 }},
		{"a new token refused", "the store is guarded", func(h *history) { h.Accesses[4].Accepted = false }},
		{"an acknowledged checkpoint lost", "checkpoints are remembered", func(h *history) { attemptOf(h, 3, 1).Found = version{} }},
		{"an older checkpoint than the acknowledged one", "checkpoints are remembered", func(h *history) { h.Deposits[1].Kept, attemptOf(h, 3, 1).Found.N = true, 1 }},
		{"a checkpoint that was cleared", "checkpoints are remembered", func(h *history) { attemptOf(h, 3, 2).Found = version{20, 1} }},
		{"a checkpoint older than one found before", "checkpoints are remembered", func(h *history) {
			h.Deposits = h.Deposits[:3]
			attemptOf(h, 3, 2).Found = version{10, 1}
		}},
		{"no checkpoint, and one was found before", "checkpoints are remembered", func(h *history) { h.Deposits = h.Deposits[:3] }},
		{"lost with too few nodes that forgot", "checkpoints are remembered", func(h *history) {
			attemptOf(h, 3, 1).Found = version{}
			h.Faults = append(h.Faults, span{From: 73, To: 600, Forgets: []int{0, 1}}, span{From: 5, To: 71, Forgets: []int{2}})
		}},
		{"acknowledged after a newer lease", "checkpoints are remembered", func(h *history) { h.Deposits[2].Kept, h.Deposits[2].Call = true, 621 }},
		{"acknowledged after a newer lock, and lost", "checkpoints are remembered", func(h *history) { h.Deposits[2].Kept = true }},
		{"a checkpoint that nobody made", "checkpoints were made, and in time", func(h *history) { attemptOf(h, 3, 1).Found.N = 7 }},
		{"a checkpoint made later", "checkpoints were made, and in time", func(h *history) { h.Deposits[1].Call = 621 }},
		{"a checkpoint of one's own", "checkpoints were made, and in time", func(h *history) { attemptOf(h, 3, 1).Found = version{20, 1} }},
		{"a checkpoint by one overtaken", "checkpoints were made, and in time", func(h *history) {
			h.Deposits = append(h.Deposits, deposit{version: version{10, 4}, Key: "k", Call: 645})
			attemptOf(h, 3, 2).Found = version{10, 4}
		}},
		{"an observer that goes back", "leaders are in order", func(h *history) { h.Sightings[5].Token = 7; h.Sightings[1].Token = 9 }},
		{"an old leader in an answer", "leaders are in order", func(h *history) { h.Sightings[2].Asked = 7e9 }},
		{"a leader who did not campaign", "leaders are in order", func(h *history) { h.Sightings[3].Candidate = "x" }},
		{"another's token", "leaders are in order", func(h *history) { h.Sightings[1].Candidate = "d" }},
		{"a leader who had not campaigned yet", "leaders are in order", func(h *history) { h.Sightings[3].At = 49 }},
		{"a settled leader unseen", "observers see leaders", func(h *history) { h.Sightings[5].Token = 0 }},
		{"the last leader unseen", "observers see leaders", func(h *history) { h.Sightings = h.Sightings[:7] }},
		{"no last leader", "observers see leaders", func(h *history) { attemptOf(h, 3, 6).Acquired = 0 }},
		{"an odd error", "errors have their faults", func(h *history) { attemptOf(h, 2, 2).Odd = true }},
		{"a key that cannot be had", "every key can be had again", func(h *history) { attemptOf(h, 1, 3).Acquired = 0 }},
		{"nobody came to the last lap", "every key can be had again", func(h *history) { attemptOf(h, 1, 3).Way = "WithLock" }},
		{"a stopped client whose turn others wait for", "a stopped client does not slow others down", func(h *history) { *h = *stop(100, 24) }},
		{"a resize without a quorum", "a resize leaves a quorum", func(h *history) { h.Faults[1].Outage = false }},
		{"a resize that ends without a quorum", "a resize leaves a quorum", func(h *history) { h.Resizes[0].To = 5e9 }},
		{"a resize that begins without a quorum", "a resize leaves a quorum", func(h *history) { h.Resizes[0].From = -2e9 }},
		{"no two readers", "something was done", func(h *history) { attemptOf(h, 2, 4).Reads, attemptOf(h, 2, 5).Reads = false, false }},
		{"never all slots", "something was done", func(h *history) { attemptOf(h, 2, 7).Acquired, attemptOf(h, 2, 7).Until = 91, 95 }},
		{"no fault", "something was done", func(h *history) { h.Faults = nil }},
		{"no progress under the fault", "something was done", func(h *history) { h.Faults[0].From = 399 }},
		{"no writes", "something was done", func(h *history) { h.Accesses = h.Accesses[:1] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := good()
			tt.spoil(h)
			for _, c := range rules {
				if c.name == tt.check {
					if got := c.check(h); len(got) == 0 {
						t.Errorf("%q finds nothing", c.name)
					}
					return
				}
			}
			t.Fatalf("no check is called %q", tt.check)
		})
	}
}

// stop returns a history in which a key was acquired before times in the second before a client was stopped, and beside
// times in the second after that client's keys have expired.
func stop(before, beside int) *history {
	const second = int64(time.Second)
	h := &history{Start: second, TTL: second, Stalls: []stall{{Client: 1, From: 2 * second, To: 4*second + grace, Halted: true}}}
	for from, times := range map[int64]int{second: before, 3*second + grace: beside} {
		for i := range times {
			h.Attempts = append(h.Attempts, attempt{Client: 2, Key: hotKeys[1], Acquired: from + int64(i)})
		}
	}
	return h
}

func TestUnhindered_AllowsWhatTheStoppedClientDoesNotDoItself(t *testing.T) {
	if got := unhindered(stop(100, 25)); len(got) > 0 {
		t.Error(got)
	}
	short := stop(100, 0)
	short.Stalls[0].To = short.Stalls[0].From + short.TTL + int64(100*time.Millisecond)
	if got := unhindered(short); len(got) > 0 {
		t.Errorf("a tenth of a second is judged: %v", got)
	}
	resized := stop(100, 0)
	resized.Resizes = []span{{Name: "resized to 4 nodes"}}
	if got := unhindered(resized); len(got) > 0 {
		t.Errorf("a run with a resize is judged: %v", got)
	}
	for key, times := range map[string]int{mostlyRead.name: 24, threeSlots.name: 24, twoLong.name: 0} {
		h := stop(100, times)
		for i := range h.Attempts {
			h.Attempts[i].Key = key
		}
		if got := unhindered(h); len(got) > 0 != (key != twoLong.name) {
			t.Errorf("%s, acquired %d times of 100: %v", key, times, got)
		}
		h.Stalls[0].To--
		if got := unhindered(h); len(got) > 0 {
			t.Errorf("%s is judged in less than a second: %v", key, got)
		}
	}
	after := stop(0, 0) // only acquisitions after the stop
	for i := range 100 {
		after.Attempts = append(after.Attempts, attempt{Key: hotKeys[1], Acquired: after.Stalls[0].To + grace + int64(i)})
	}
	for _, lap := range []time.Duration{time.Minute, time.Second} { // the traffic ends with the first of them
		after.Attempts = append(after.Attempts, attempt{Way: lastLap, Key: "k", Call: after.Stalls[0].To + grace + int64(lap)})
	}
	after.Start = after.Stalls[0].From
	if got := unhindered(after); len(got) != 1 {
		t.Errorf("acquisitions after the stop were counted: %v", got)
	}
}

func TestJudge_AGoodHistoryPasses(t *testing.T) {
	h := good()
	for _, c := range rules {
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

// TestJudge_ABadHistoryIsDrawnWithItsFaults checks the files that a person reads.
func TestJudge_ABadHistoryIsDrawnWithItsFaults(t *testing.T) {
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

// TestSequential_SeesFaults spoils a history for porcupine.
func TestSequential_SeesFaults(t *testing.T) {
	for name, spoil := range map[string]func(h *history){
		"a token twice":           func(h *history) { h.Attempts[4].Token = 10 },
		"a token that falls":      func(h *history) { h.Attempts[4].Token = 8 },
		"two holders":             func(h *history) { h.Attempts[1].Acquired = 29 },
		"two holders, no stall":   func(h *history) { h.Stalls = nil },
		"an old token let in":     func(h *history) { h.Accesses[5].Accepted = true },
		"a new token refused":     func(h *history) { h.Accesses[4].Accepted = false },
		"two holders, never over": func(h *history) { h.Attempts[0].Until, h.Attempts[0].Return = 1000, 1001 },

		"a reader beside a writer":                        func(h *history) { attemptOf(h, 1, 5).Until, attemptOf(h, 1, 5).Return = 121, 122 },
		"a writer beside a reader":                        func(h *history) { attemptOf(h, 3, 8).Acquired = 149 },
		"a reader with less than the writer before it":    func(h *history) { attemptOf(h, 2, 4).Token = 2 },
		"a writer with the token of the reader before it": func(h *history) { attemptOf(h, 3, 8).Token = 4 },
		"a lost write":                         func(h *history) { accessAt(h, 164).Base = 0 },
		"a write that a reader does not see":   func(h *history) { accessAt(h, 157).Version = 0 },
		"a late write let in":                  func(h *history) { accessAt(h, 152).Accepted = true },
		"a reader let in after a newer writer": func(h *history) { accessAt(h, 180).Accepted = true },
		"one slot twice":                       func(h *history) { attemptOf(h, 3, 9).Acquired = 59 },
		"one slot twice, never over":           func(h *history) { attemptOf(h, 2, 6).Until, attemptOf(h, 2, 6).Return = 1000, 1001 },
		"four holders of three, a fourth slot": func(h *history) { attemptOf(h, 2, 7).Slot = 3 },
		"a slot whose token falls":             func(h *history) { attemptOf(h, 1, 7).Token = 3 },
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

// A client is stopped during an attempt, just after it was granted the key. It learns of the grant only after it has
// lost the key, and may report it even later.
func TestSequential_ExplainsALeaseLostBeforeItsHolderKnewOfIt(t *testing.T) {
	const ms = 1e6
	late := attempt{Client: 1, Op: 1, Way: "lease", Key: "k", Call: 1000 * ms, Acquired: 2100 * ms, Token: 5, Until: 2101 * ms, Return: 2102 * ms, Lost: true}
	h := &history{
		TTL: 1000 * ms,
		Attempts: []attempt{late, {
			Client: 2, Op: 1, Way: "WithLock", Key: "k", Call: 1900 * ms, Acquired: 2010 * ms, Token: 9, Until: 2020 * ms, Return: 2021 * ms,
		}},
		Stalls: []stall{{Client: 1, From: 1001 * ms, To: 2050 * ms}},
	}
	if verdict, _ := sequential(h, sequentialTimeout); verdict != "" {
		t.Error(verdict)
	}
	for name, spoil := range map[string]func(a *attempt){
		"it was not lost":           func(a *attempt) { a.Lost = false },
		"it asked after it stopped": func(a *attempt) { a.Call = 2051 * ms },
	} {
		h.Attempts[0] = late
		if spoil(&h.Attempts[0]); h.Attempts[0].Acquired-h.Stalls[0].To <= grace {
			t.Fatal("the stall is excused either way")
		}
		if verdict, _ := sequential(h, sequentialTimeout); verdict == "" {
			t.Errorf("%s: porcupine finds a sequential explanation", name)
		}
	}
}

// If a node loses its data unnoticed, two clients may hold a key at the same time, and tokens from before and after may
// be out of order. All other rules still apply.
func TestJudge_AnUnseenLossExcusesOnlyExclusionAndOrder(t *testing.T) {
	h := good()
	h.Unseen = 10
	h.Faults = append(h.Faults, span{Name: "a node emptied by hand", From: 22, To: 22})
	second := &h.Attempts[1]
	second.Acquired = 29 // while the first holds the key until 30
	broken, excused := h.overlaps()
	if len(broken) > 0 || excused == 0 {
		t.Errorf("overlaps: %q, %d excused", broken, excused)
	}
	if verdict, _ := sequential(h, sequentialTimeout); verdict != "" {
		t.Error(verdict)
	}
	for _, at := range []int64{5, 31} { // it lost its data long before the first held the key, or afterwards
		other := *h
		other.Faults = append(good().Faults, span{Name: "a node emptied by hand", From: at, To: at})
		if broken, _ := other.overlaps(); len(broken) == 0 {
			t.Errorf("with a node emptied at %d the overlap is excused too", at)
		}
	}
	second.Token = 5
	if len(givenOnce(h)) == 0 {
		t.Error("a token that was issued twice is excused too")
	}
	second.Token, second.Call = 4, 31
	second.Acquired, second.Until = 35, 40
	if len(inOrder(h)) == 0 {
		t.Error("a smaller token is excused too, although no node lost its counters")
	}
	h.Faults[len(h.Faults)-1].Forgets = []int{1}
	if broken := inOrder(h); len(broken) > 0 {
		t.Errorf("tokens from before and after a node lost its counters: %q", broken)
	}
	h.Faults[len(h.Faults)-1].From, h.Faults[len(h.Faults)-1].To = 1, 1
	if len(inOrder(h)) == 0 {
		t.Error("a smaller token is excused too, long after a node lost its counters")
	}
	h.Faults[len(h.Faults)-1].Forgets = nil
	if verdict, _ := sequential(h, sequentialTimeout); verdict == "" {
		t.Error("porcupine finds an order for decreasing tokens")
	}
}

// Data that no quorum has any more, and leaders that an observer missed because of a fault or a stall, are excused.
func TestJudge_ExcusesWhatLossesAndFaultsExplain(t *testing.T) {
	for name, spoil := range map[string]func(h *history){
		"a checkpoint after a quorum forgot": func(h *history) {
			h.Attempts[6].Found = version{}
			h.Faults = append(h.Faults, span{From: 73, To: 600, Forgets: []int{0, 1}}, span{From: 80, To: 90, Forgets: []int{2}})
		},
		"a checkpoint after one node forgot unseen": func(h *history) {
			h.Attempts[6].Found, h.Fragile = version{}, 1
			h.Faults = append(h.Faults, span{From: 100, To: 600, Forgets: []int{4}})
		},
		"a checkpoint after a newer lock that looked for none": func(h *history) {
			h.Deposits[2].Kept, h.Attempts[6].Found = true, version{10, 3}
		},
		"a leader under faults": func(h *history) {
			h.Sightings[5].Token = 0
			h.Faults = append(h.Faults, span{From: 6e9, To: 7e9}, span{From: 9e9, To: 10e9})
		},
		"a leader while the observer stood still": func(h *history) {
			h.Sightings[5].Token = 0
			h.Stalls = append(h.Stalls, stall{Client: 1, From: 7e9, To: 9e9})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			spoil(h)
			if broken := append(remembered(h), observed(h)...); len(broken) > 0 {
				t.Error(broken)
			}
		})
	}
}
