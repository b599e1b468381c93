package harness

import (
	"testing"
	"time"
)

// patience is far above what anything that is waited for takes.
const patience = 20 * time.Second

// Eventually waits until cond holds, which it asks again and again; what says in the error what was waited for. It does so in
// the time of the bubble that it is called in, if it is in one.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	over := time.NewTimer(patience)
	defer over.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !cond() {
		select {
		case <-look.C:
		case <-over.C:
			t.Fatalf("in vain: waited %v for %s", patience, what)
		}
	}
}
