package quorumlock

import (
	"strings"
	"testing"
	"time"
)

func TestSearchShared_ReadersAndWritersExcludeEachOther(t *testing.T) {
	for name, m := range map[string]sharedModel{
		"a writer, a reader, a writer":     {readers: "wrw", spread: 1, noExpiry: true},
		"two readers, a writer":            {readers: "rrw", noExpiry: true},
		"a reader, a writer, a reader":     {readers: "rwr", noExpiry: true},
		"a writer and a reader, expiring":  {readers: "wr", spread: 2, rounds: true, repeats: true},
		"a reader and a writer, expiring":  {readers: "rw", spread: 2, rounds: true, repeats: true},
		"two readers, expiring":            {readers: "rr", spread: 2, rounds: true, repeats: true},
		"a writer that becomes a reader":   {readers: "wr", spread: 1, lowers: true, repeats: true},
		"it becomes one, and then a write": {readers: "ww", spread: 1, lowers: true, repeats: true},
		"tokens: a writer, a reader":       {readers: "wr", spread: 2, untimed: true, repeats: true},
		"tokens: a reader, a writer":       {readers: "rw", spread: 2, untimed: true, repeats: true},
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			states, trace := m.explore()
			t.Logf("%d states in %v", states, time.Since(begun).Round(time.Millisecond))
			if trace != nil {
				t.Fatalf("%s", strings.Join(trace, "\n"))
			}
			if m.won == 0 || m.refused == 0 && m.readers != "rr" {
				t.Error("a search in which nobody wins, or nobody is refused, shows nothing")
			}
		})
	}
}
