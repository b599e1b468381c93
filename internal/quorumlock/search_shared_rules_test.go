package quorumlock

import (
	"strings"
	"testing"
	"time"
)

// About 2 million states without -search.full, in some ten seconds.
func TestSearchShared_ReadersAndWritersExcludeEachOther(t *testing.T) {
	for _, tt := range []struct {
		name  string
		full  bool
		model sharedModel
	}{
		{"two readers, a writer", false, sharedModel{readers: "rrw", noExpiry: true}},
		{"a reader, a writer, a reader", false, sharedModel{readers: "rwr", noExpiry: true}},
		{"a writer, a reader, a writer", true, sharedModel{readers: "wrw", spread: 1, noExpiry: true}},
		{"a writer and a reader, with expiry", false, sharedModel{readers: "wr", spread: 1}},
		{"a reader and a writer, with expiry", false, sharedModel{readers: "rw", spread: 1}},
		{"a reader and a writer that renew", false, sharedModel{readers: "rw", rounds: true}},
		{"a writer and a reader that renew", true, sharedModel{readers: "wr", rounds: true, spread: 1}},
		{"two readers that renew", true, sharedModel{readers: "rr", rounds: true}},
		{"a reader and a writer, delivered twice", false, sharedModel{readers: "rw", repeats: true}},
		{"a writer and a reader, delivered twice", true, sharedModel{readers: "wr", repeats: true}},
		{"a writer that becomes a reader, and a reader", false, sharedModel{readers: "wr", lowers: true}},
		{"writers that become readers", true, sharedModel{readers: "ww", lowers: true}},
		{"writers that become readers while they renew, and lose the key by force", false, sharedModel{readers: "ww", noExpiry: true, rounds: true, forces: true}},
		{"tokens of a writer and a reader", true, sharedModel{readers: "wr", spread: 2, untimed: true, repeats: true}},
		{"tokens of a reader and a writer", false, sharedModel{readers: "rw", spread: 1, untimed: true, repeats: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if (tt.full || raceDetector) && !*searchFull {
				t.Skip("takes long: run it with -search.full")
			}
			begun, m := time.Now(), tt.model
			states, trace := m.explore()
			t.Logf("%d states in %v", states, time.Since(begun).Round(time.Millisecond))
			if trace != nil {
				t.Fatal(strings.Join(trace, "\n"))
			}
			if m.won == 0 || m.refused == 0 && m.readers != "rr" {
				t.Error("a search in which nobody wins, or nobody is refused, shows nothing")
			}
		})
	}
}

func TestSearchShared_FindsEachRuleThatIsLeftOut(t *testing.T) {
	for _, tt := range []struct {
		name  string
		want  string
		model sharedModel
	}{
		{"a reader raises no quorum", "has token", sharedModel{readers: "wrw", spread: 1, noExpiry: true, noRaise: true}},
		{"a reader's token is from before it held the key", "before it had", sharedModel{readers: "rw", noExpiry: true, early: true}},
		{"a reader ignores the writer that waits", "passes", sharedModel{readers: "rwr", noExpiry: true, passes: true}},
		{"the key expires with its first reader", "at once", sharedModel{readers: "rrw", firstLives: true}},
		{"the release of one reader frees all", "at once", sharedModel{readers: "rrw", noExpiry: true, freesAll: true}},
		{"a writer ignores readers", "at once", sharedModel{readers: "rw", noExpiry: true, noMarker: true}},
		{"a holder writes until its downgrade is answered", "at once", sharedModel{readers: "wr", noExpiry: true, lowers: true, writesLater: true}},
		{"a downgrade is sent where a renewal is unanswered", "is revived", sharedModel{readers: "ww", noExpiry: true, rounds: true, forces: true, asksAll: true}},
		{"a downgrade forgets what the renewal found", "is revived", sharedModel{readers: "ww", noExpiry: true, rounds: true, forces: true, forgets: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.model
			states, trace := m.explore()
			if trace == nil || !strings.Contains(trace[len(trace)-1], tt.want) {
				t.Fatalf("not found in %d states: %q", states, trace)
			}
			t.Logf("found after %d states:\n%s", states, strings.Join(trace, "\n"))
		})
	}
}
