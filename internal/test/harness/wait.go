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

// Patience is how long a test waits for something that must happen. It is far
// longer than needed on a machine that is not slow.
const Patience = 30 * time.Second

// meter watches the machine from [Main] on.
var meter atomic.Pointer[machine.Meter]

// Main runs the tests of a package while it watches the machine, and fails if
// goroutines are left. It does not return.
func Main(m *testing.M, options ...goleak.Option) {
	os.Exit(Run(m, func() {}, options...))
}

// Run is [Main] but returns the exit code. After the tests and before the
// search for goroutines it calls end, which closes resources that the tests
// share.
func Run(m *testing.M, end func(), options ...goleak.Option) (code int) {
	// The resolver reads its settings once. Channels that it creates within a
	// synctest bubble cannot be used outside, so this happens before any test.
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

// Eventually waits until cond returns true, and checks it every millisecond.
// what describes the condition in the failure message. In a synctest bubble it
// waits in the bubble's time.
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

// Receive returns the next value of ch, or the zero value once ch is closed. It
// waits like [Eventually].
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

// Missed ends a test that has waited for progress since began without success.
// The test fails, unless the machine was too slow to judge: then it is skipped
// as inconclusive, and the gate repeats it. Missed is for progress only. A
// safety promise holds on the slowest machine, and a test reports its violation
// with t.Error or t.Fatal.
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

// Must ends a test if err is not nil, by [Missed] if err is a time-out. began
// is when the operation began.
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

// virtual reports whether t is from the clock of a synctest bubble, which
// begins in the year 2000.
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
