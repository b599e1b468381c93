package nodeset

import (
	"math/bits"
	"testing"
	"time"
	"unsafe"
)

func TestQuorum_IsAStrictMajority(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 4} {
		if got := Quorum(n); got != want {
			t.Errorf("Quorum(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestQuorum_IsTheSmallestOfWhichAnyTwoShareANode(t *testing.T) {
	for n := 1; n <= 9; n++ {
		q := Quorum(n)
		disjoint := false // two sets of one node fewer
		for a := range uint(1) << n {
			for b := range uint(1) << n {
				if bits.OnesCount(a) == q && bits.OnesCount(b) == q && a&b == 0 {
					t.Fatalf("of %d nodes, %b and %b are quorums and share none", n, a, b)
				}
				disjoint = disjoint || bits.OnesCount(a) == q-1 && bits.OnesCount(b) == q-1 && a&b == 0
			}
		}
		if !disjoint {
			t.Errorf("%d nodes would do with fewer than %d", n, q)
		}
	}
}

func FuzzDeadline_IsWithinTheTTL(f *testing.F) {
	f.Add(int64(time.Second), int64(0))
	f.Add(int64(time.Millisecond), int64(1))
	f.Add(int64(time.Hour), int64(1)<<60)
	f.Fuzz(func(t *testing.T, ttl, at int64) {
		if ttl <= 0 {
			ttl = 1 - ttl
		}
		if ttl <= 0 {
			return
		}
		for _, start := range []time.Time{time.Now(), time.Unix(0, at)} {
			d := Deadline(start, time.Duration(ttl))
			if !d.Before(start.Add(time.Duration(ttl))) {
				t.Errorf("Deadline(%v, %v) = %v is not before the key may be gone", start, time.Duration(ttl), d)
			}
			if off := start.Add(time.Duration(ttl)).Sub(d); off < time.Duration(ttl)/100+2*time.Millisecond {
				t.Errorf("the deadline of a TTL of %v leaves a margin of %v", time.Duration(ttl), off)
			}
		}
	})
}

func TestMargin_IsOnePercentAndTwoMilliseconds(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		0: 2 * time.Millisecond, 100 * time.Millisecond: 3 * time.Millisecond,
		10 * time.Second: 102 * time.Millisecond, time.Minute: 602 * time.Millisecond,
	} {
		if got := Margin(ttl); got != want {
			t.Errorf("Margin(%v) = %v, want %v", ttl, got, want)
		}
	}
}

// shiftMonotonic returns t with a monotonic reading that is later by d, and the same wall clock. Package time has no way
// to make such a time, which is what a suspension or a clock that was set leaves behind.
func shiftMonotonic(t testing.TB, at time.Time, d time.Duration) time.Time {
	t.Helper()
	type layout struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}
	shifted := at
	(*layout)(unsafe.Pointer(&shifted)).ext += int64(d)
	if shifted.Sub(at) != d || !shifted.Round(0).Equal(at.Round(0)) {
		t.Fatal("package time lays out its times in another way")
	}
	return shifted
}

func TestDeadline_HasPassedWhenEitherClockSaysSo(t *testing.T) {
	mono := time.Now() // has both readings
	wall := mono.Round(0)
	// at is a time whose monotonic clock has gone m on since mono, and whose wall clock w.
	at := func(m, w time.Duration) time.Time { return shiftMonotonic(t, mono.Add(w), m-w) }
	for _, tt := range []struct {
		name          string
		deadline, now time.Time
		passed        bool
		left          time.Duration
	}{
		{"both clocks before", mono.Add(time.Second), mono, false, time.Second},
		{"both clocks at", mono, mono, true, 0},
		{"both clocks after", mono, mono.Add(time.Second), true, -time.Second},
		{"wall times before", wall.Add(time.Second), wall, false, time.Second},
		{"wall times at", wall, wall, true, 0},
		{"wall times after", wall, wall.Add(time.Second), true, -time.Second},
		{"deadline without monotonic reading", wall.Add(time.Second), mono, false, time.Second},
		{"now without monotonic reading", mono.Add(time.Second), wall, false, time.Second},
		{"now without monotonic reading, after", mono, wall.Add(time.Second), true, -time.Second},
		{"suspended past the deadline", mono.Add(time.Second), at(time.Millisecond, time.Hour), true, time.Second - time.Hour},
		{"suspended, not as long", mono.Add(time.Second), at(time.Millisecond, time.Second/2), false, time.Second / 2},
		{"wall clock set back, in time", mono.Add(time.Second), at(time.Second/2, -time.Hour), false, time.Second / 2},
		{"wall clock set back, too late", mono.Add(time.Second), at(2*time.Second, -time.Hour), true, -time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Passed(tt.deadline, tt.now); got != tt.passed {
				t.Errorf("Passed = %t, want %t", got, tt.passed)
			}
			if got := Left(tt.deadline, tt.now); got != tt.left {
				t.Errorf("Left = %v, want %v", got, tt.left)
			}
			if Passed(tt.deadline, tt.now) != (Left(tt.deadline, tt.now) <= 0) {
				t.Error("Passed and Left disagree")
			}
		})
	}
}
