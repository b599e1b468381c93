package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Inconclusive begins the message of every test that is skipped because the
// machine was too slow to judge it.
const Inconclusive = "inconclusive: the machine was too slow to judge"

const (
	tick    = 10 * time.Millisecond
	kept    = 30 * time.Second // of samples
	samples = int(kept / tick)
)

// The limits of [Report.Slow]. On an idle machine with two processors, timers are late by 1 to 3 ms, and by up to 30 ms
// while the project's own tests run. There, threads that run for 20 µs at a time wait four times as long, which is
// harmless: 0.1 to 0.2 ms each time in a chaos round on a quiet machine, 0.2 to 1.8 ms next to six busy processes.
const (
	worstLate    = 100 * time.Millisecond
	shareLate    = 0.10
	shareStarved = 0.50
	waitStarved  = 250 * time.Microsecond
)

// Meter watches the machine from [Start] to [Meter.Stop]. Its methods may be
// called by several goroutines at once.
type Meter struct {
	stop    chan struct{}
	stopped chan struct{}

	mu    sync.Mutex
	ring  [samples]sample
	next  int
	worst time.Duration
}

// sample is one tick: when it fired, how late it was, and the scheduler's counts at that time.
type sample struct {
	at   time.Time
	late time.Duration
	used usage
}

// Waited returns how long the threads of this process have waited for a processor so far. It is 0 if the system does
// not report it.
func Waited() time.Duration { return used().waited }

// usage holds how long the threads of this process ran and waited to run, and how many times.
type usage struct {
	ran, waited time.Duration
	times       int64
}

// Start starts a meter.
func Start() *Meter {
	m := &Meter{stop: make(chan struct{}), stopped: make(chan struct{})}
	m.add(sample{at: time.Now(), used: used()})
	go m.run()
	return m
}

// Stop ends the meter and waits until it has ended.
func (m *Meter) Stop() {
	close(m.stop)
	<-m.stopped
}

func (m *Meter) run() {
	defer close(m.stopped)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for n := 0; ; n++ {
		due := time.Now().Add(tick)
		timer.Reset(tick)
		select {
		case <-timer.C:
		case <-m.stop:
			return
		}
		now := time.Now()
		s := sample{at: now, late: max(0, now.Sub(due))}
		if n%10 == 0 { // it reads a file for each thread
			s.used = used()
		}
		m.add(s)
	}
}

func (m *Meter) add(s sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ring[m.next%samples] = s
	m.next++
	m.worst = max(m.worst, s.late)
}

// Worst returns the largest delay of a timer since [Start].
func (m *Meter) Worst() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.worst
}

// Report holds the measurements of a meter in a window of time.
type Report struct {
	Window  time.Duration // the measured part of the requested time
	Worst   time.Duration // the largest delay of a timer
	Late    time.Duration // the sum of all delays
	Starved float64       // waiting time as a share of the time in which threads were ready or running
	Wait    time.Duration // average time of one wait
}

// Since returns the measurements since from, at most of the last 30 s. It includes a timer that is late at the moment.
func (m *Meter) Since(from time.Time) Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	r := Report{}
	var first, last usage
	newest := time.Time{}
	for i := max(0, m.next-samples); i < m.next; i++ {
		s := m.ring[i%samples]
		newest = s.at
		if s.at.Before(from) {
			continue
		}
		if r.Window == 0 {
			r.Window = now.Sub(s.at) + tick + s.late
		}
		r.Worst, r.Late = max(r.Worst, s.late), r.Late+s.late
		if s.used != (usage{}) {
			if first == (usage{}) {
				first = s.used
			}
			last = s.used
		}
	}
	if overdue := now.Sub(newest) - tick; overdue > 0 {
		r.Worst, r.Late = max(r.Worst, overdue), r.Late+overdue
	}
	ran, waited := last.ran-first.ran, last.waited-first.waited
	if ran > 0 && waited > 0 { // the sums fall when threads end
		r.Starved = float64(waited) / float64(ran+waited)
		r.Wait = waited / time.Duration(max(1, last.times-first.times))
	}
	return r
}

// Slow reports whether the machine may have caused missed progress in the window. One late timer does not explain a
// long wait.
func (r Report) Slow() bool {
	return r.Worst > max(worstLate, r.Window/20) || r.Starved > shareStarved && r.Wait > waitStarved ||
		r.Window > 0 && float64(r.Late) > shareLate*float64(r.Window)
}

func (r Report) String() string {
	return fmt.Sprintf("within %v timers were late by up to %v, %v in all, and threads waited %.0f %% of the time that they could run, %v each time",
		r.Window.Round(time.Millisecond), r.Worst.Round(time.Millisecond), r.Late.Round(time.Millisecond), 100*r.Starved, r.Wait.Round(time.Microsecond))
}

// TimedOut reports whether err is a time-out, which a slow machine may explain.
func TimedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
