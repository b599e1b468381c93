// Package machine measures how slow the machine is while tests run, so that a
// test can distinguish progress that was missed because processes did not run
// from progress that was missed although they did.
//
//	meter := machine.Start()
//	defer meter.Stop()
//	began := time.Now()
//	…
//	if r := meter.Since(began); r.Slow() {
//		t.Skipf("%s: %s", machine.Inconclusive, r)
//	}
//
// It watches two things: how late the timers of this process fire, and, on
// Linux, how long the threads of this process waited for a processor while they
// could have run. Safety is never excused by either.
package machine
