package harness

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/internal/test/machine"
)

// Patience is how long a test waits for what must happen: far above what it
// takes on a machine that is well.
const Patience = 30 * time.Second

// meter watches the machine from [Main] on.
var meter atomic.Pointer[machine.Meter]

// Main runs the tests of a package while it watches the machine, and fails if
// goroutines are left. It does not return.
func Main(m *testing.M, options ...goleak.Option) {
	os.Exit(Run(m, func() {}, options...))
}

// Run is [Main] but returns the exit code. Between the tests and the search for
// goroutines it calls end, which closes what the tests share.
func Run(m *testing.M, end func(), options ...goleak.Option) (code int) {
	// The resolver reads its settings once. What it makes then within a synctest
	// bubble cannot be used outside of it, so it does that before.
	_, _ = net.LookupHost("localhost")
	watch := machine.Start()
	meter.Store(watch)
	code = m.Run()
	meter.Store(nil)
	watch.Stop()
	end()
	if err := goleak.Find(options...); err != nil && code == 0 {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	return code
}

// Eventually waits until cond holds, which it checks every millisecond; what
// says in the error what was waited for. In a synctest bubble it waits in the
// time of the bubble.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	began := time.Now()
	over := time.NewTimer(Patience)
	defer over.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !cond() {
		select {
		case <-look.C:
		case <-over.C:
			Missed(t, began, "waited %v without success for %s", Patience, what)
		}
	}
}

// Receive returns the next value of ch, or the zero value once it is closed,
// and waits for it as [Eventually] does.
func Receive[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	began := time.Now()
	over := time.NewTimer(Patience)
	defer over.Stop()
	select {
	case v = <-ch:
	case <-over.C:
		Missed(t, began, "waited %v without success for %s", Patience, what)
	}
	return v
}

// Missed ends a test in which progress was missed that was waited for since
// began. It fails, unless the machine was too slow to judge; then the test is
// skipped as inconclusive, and whatever runs the tests repeats it. It is for
// progress only: a promise about safety holds on the slowest machine, and a
// test reports its violation with t.Error or t.Fatal.
func Missed(t testing.TB, began time.Time, format string, args ...any) {
	t.Helper()
	if watch := meter.Load(); watch != nil && !virtual(began) {
		if r := watch.Since(began); r.Slow() {
			t.Logf(format, args...)
			t.Skipf("%s: %s", machine.Inconclusive, r)
		}
	}
	t.Fatalf(format, args...)
}

// Must ends a test in which something failed that had to succeed, by [Missed]
// if it ran out of time. began is when it was asked for.
func Must(t testing.TB, began time.Time, err error) {
	t.Helper()
	switch {
	case err == nil:
	case machine.TimedOut(err):
		Missed(t, began, "%v", err)
	default:
		t.Fatal(err)
	}
}

// virtual reports whether t is of the clock of a synctest bubble, which begins
// at the year 2000.
func virtual(t time.Time) bool { return t.Year() < 2020 }

// Past waits until at has passed.
func Past(at time.Time) { <-time.After(time.Until(at) + time.Millisecond) }

// Close closes c, and fails the test if that fails.
func Close(t testing.TB, c interface{ Close(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// CloseAtEnd is [Close] at the end of the test.
func CloseAtEnd(t testing.TB, c interface{ Close(context.Context) error }) {
	t.Cleanup(func() { Close(t, c) })
}
