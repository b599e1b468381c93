//go:debug randseednop=0

package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/internal/test/machine"
)

var (
	first = flag.Uint64("sim.first", 1, "the first seed")
	seeds = flag.Int("sim.seeds", defaultSeeds, "how many seeds")
	child = flag.Bool("sim.child", false, "play the seeds in this process")
)

// No meter of the machine runs beside the seeds: a seed has one trace only while nothing else is scheduled.
func TestMain(m *testing.M) {
	logging.Disable() // the pools of clients whose nodes are gone complain
	goleak.VerifyTestMain(m)
}

// play runs the world of a seed in a bubble of its own.
func play(t *testing.T, seed uint64, s Sabotage) (r Result) {
	t.Helper()
	defer func() {
		if why := recover(); why != nil { // goroutines that are left behind in a bubble are one reason
			fmt.Printf("seed %d\nrepeat with: go test ./internal/test/sim -run TestSeeds_KeepEveryPromise -sim.first %[1]d -sim.seeds 1\n", seed)
			panic(why)
		}
	}()
	emptyPools()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection while it is played empties pools, and changes its trace
	cryptotest.SetGlobalRandom(t, seed)
	//lint:ignore SA1019 what the library and go-redis draw from the global source has to be seeded too
	rand.Seed(int64(seed))
	synctest.Test(t, func(*testing.T) { r = Run(seed, s) })
	return r
}

// emptyPools drops the timers that go-redis keeps in pools of the whole process: a timer belongs to the bubble it was made
// in. It is also why two bubbles cannot live in one process at a time.
func emptyPools() {
	runtime.GC() // what a sync.Pool holds survives one collection
	runtime.GC()
}

// TestSeeds_KeepEveryPromise plays the seeds, as many at a time as there are processors, each in a process of its own.
func TestSeeds_KeepEveryPromise(t *testing.T) {
	if *child {
		playHere(t)
		return
	}
	began := time.Now()
	all := playElsewhere(t, max(1, min(runtime.GOMAXPROCS(0), *seeds)))
	if all.Seeds != *seeds && !t.Failed() {
		t.Errorf("%d of %d seeds were played", all.Seeds, *seeds)
	}
	if !raceDetector && *seeds >= defaultSeeds && (all.Acquisitions == 0 || all.Losses == 0 || all.Refused == 0 || len(all.Faults) < 10) {
		t.Errorf("too little happened: %s", all)
	}
	fmt.Fprintf(os.Stderr, "sim: %s; %.0f seeds/min\n", all, float64(all.Seeds)/time.Since(began).Minutes())
}

// playHere plays the seeds in this process, and says on one line of standard output what they came to.
func playHere(t *testing.T) {
	runtime.GOMAXPROCS(1) // in a bubble there is little to do at one time
	var all Totals
	for i := range *seeds {
		seed := *first + uint64(i)
		r := play(t, seed, Sabotage{})
		all.Add(r.Totals)
		if len(r.Violations) > 0 {
			t.Errorf("seed %d\nrepeat with: go test ./internal/test/sim -run TestSeeds_KeepEveryPromise -sim.first %[1]d -sim.seeds 1\n%s",
				seed, strings.Join(r.Trace, "\n"))
		}
	}
	line, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\n%s%s\n", totalsMark, line)
}

const totalsMark = "sim-totals "

// playElsewhere shares the seeds among so many processes, which are this program again.
func playElsewhere(t *testing.T, processes int) (all Totals) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	from := *first
	for i := range processes {
		many := (*seeds + i) / processes
		cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestSeeds_KeepEveryPromise$", "-test.timeout=0", "-sim.child",
			fmt.Sprint("-sim.first=", from), fmt.Sprint("-sim.seeds=", many))
		from += uint64(many)
		wg.Go(func() {
			out, err := cmd.CombinedOutput()
			mu.Lock()
			defer mu.Unlock()
			for line := range strings.Lines(string(out)) {
				if text, found := strings.CutPrefix(line, totalsMark); found {
					var some Totals
					if err := json.Unmarshal([]byte(text), &some); err != nil {
						t.Errorf("%q: %v", text, err)
					}
					all.Add(some)
				}
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", strings.Join(cmd.Args[1:], " "), err, out)
			}
		})
	}
	wg.Wait()
	return all
}

func TestSeed_GivesTheSameTrace(t *testing.T) {
	skipUnderRace(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const from, many = 1000, 40
	disturbed := 0
	for seed := uint64(from); seed < from+many; seed++ {
		first, calm := playCalmly(t, seed)
		second, calmAgain := playCalmly(t, seed)
		if !calm || !calmAgain {
			if disturbed++; disturbed > many/2 {
				t.Skipf("%s: %d of the first %d seeds were not played without a pause of the program", machine.Inconclusive, disturbed, seed-from+1)
			}
			continue
		}
		one, other := first.Trace, second.Trace
		for i := range max(len(one), len(other)) {
			if i >= len(one) || i >= len(other) || one[i] != other[i] {
				t.Errorf("seed %d, line %d of %d and %d:\n%s\n%s", seed, i, len(one), len(other),
					at(one, i), at(other, i))
				break
			}
		}
		if first.Commands != second.Commands {
			t.Errorf("seed %d: %d commands, and %d", seed, first.Commands, second.Commands)
		}
	}
	if slices.Equal(play(t, 1, Sabotage{}).Trace, play(t, 2, Sabotage{}).Trace) {
		t.Error("another seed gives the same trace")
	}
}

// playCalmly plays a seed, up to three times, until the system did not pause the program meanwhile, as far as it says. After a pause Go's scheduler takes a
// goroutine for one that runs for too long, and lets another go first.
func playCalmly(t *testing.T, seed uint64) (r Result, calm bool) {
	t.Helper()
	const tries, pause = 3, 5 * time.Millisecond
	for range tries {
		before := machine.Waited()
		r = play(t, seed, Sabotage{})
		if waited := machine.Waited() - before; waited >= 0 && waited < pause { // the sum falls when a thread ends
			return r, true
		}
	}
	return r, false
}

// skipUnderRace is for tests that need a seed to give one trace: the race detector has the scheduler choose at random.
func skipUnderRace(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes the scheduler random; run it without")
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

func TestSabotage_IsSeen(t *testing.T) {
	skipUnderRace(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, tt := range []struct {
		name string
		s    Sabotage
		want string
	}{
		{"restarts that nodes do not tell of", Sabotage{hiddenRestarts: true}, "hold it at once"},
		{"transactions that are dropped unsaid", Sabotage{hiddenDrops: true}, "hold it at once"},
		{"counters that do not move", Sabotage{stuckCounters: true}, "both have token"},
		{"clocks faster than the margin", Sabotage{hastyClocks: true}, "hold it at once"},
		{"keys that do not expire", Sabotage{immortalKeys: true}, "left one TTL after the end"},
		{"a store that takes every token", Sabotage{blindStore: true}, "the store took token"},
		{"waits that are not announced", Sabotage{noAnnouncing: true}, "waits without success for a key that another process hands over"},
		{"wakes that cost no place", Sabotage{noMarking: true}, "beside a stopped waiter"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const enough = 400
			for seed := range uint64(enough) {
				for _, v := range play(t, seed, tt.s).Violations {
					if strings.Contains(v, tt.want) {
						t.Logf("seed %d: %s", seed, v)
						return
					}
				}
			}
			t.Errorf("none of %d seeds shows that %q", enough, tt.want)
		})
	}
}
