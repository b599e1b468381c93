package machine

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestReport_SlowByEachOfItsLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    Report
		want bool
	}{
		{"idle", Report{Window: time.Second, Worst: 3 * time.Millisecond, Late: 50 * time.Millisecond, Starved: 0.1}, false},
		{"nothing seen", Report{}, false},
		{"one late timer", Report{Window: time.Second, Worst: 101 * time.Millisecond}, true},
		{"one late timer in a long time", Report{Window: 30 * time.Second, Worst: time.Second, Late: time.Second}, false},
		{"many late timers", Report{Window: time.Second, Worst: 20 * time.Millisecond, Late: 101 * time.Millisecond}, true},
		{"starved threads", Report{Window: time.Second, Starved: 0.51, Wait: 251 * time.Microsecond}, true},
		{"threads that run and wait for moments", Report{Window: time.Second, Starved: 0.9, Wait: 200 * time.Microsecond}, false},
		{"threads that run for long", Report{Window: time.Second, Starved: 0.3, Wait: time.Millisecond}, false},
	} {
		if got := tt.r.Slow(); got != tt.want {
			t.Errorf("%s: slow is %t, want %t", tt.name, got, tt.want)
		}
	}
}

// The window contains only samples from after its beginning.
func TestMeter_SinceLooksAtTheWindowOnly(t *testing.T) {
	m := &Meter{}
	now := time.Now()
	m.add(sample{at: now.Add(-10 * time.Second), late: time.Second})
	m.add(sample{at: now.Add(-20 * time.Millisecond), late: 5 * time.Millisecond})
	m.add(sample{at: now, late: 7 * time.Millisecond})
	if r := m.Since(now.Add(-time.Second)); r.Worst >= time.Second || r.Late < 12*time.Millisecond {
		t.Errorf("in the last second: %s", r)
	}
	if r := m.Since(now.Add(-time.Minute)); r.Worst < time.Second {
		t.Errorf("in the last minute: %s", r)
	}
}

// A process whose threads all compute at once on few processors starves.
func TestMeter_SeesStarvation(t *testing.T) {
	if used() == (usage{}) {
		t.Skip("this system does not report how long threads wait")
	}
	procs := runtime.NumCPU()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * procs))
	m := Start()
	defer m.Stop()
	began := time.Now()
	var done atomic.Bool
	for range 4 * procs {
		go func() {
			for !done.Load() {
			}
		}()
	}
	defer done.Store(true)
	for deadline := time.Now().Add(20 * time.Second); ; {
		r := m.Since(began)
		if r.Starved > shareStarved {
			if !r.Slow() || !strings.Contains(r.String(), "threads waited") {
				t.Errorf("starved and not slow: %s", r)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d threads on %d processors: %s", 4*procs, procs, r)
		}
		runtime.Gosched()
	}
}
