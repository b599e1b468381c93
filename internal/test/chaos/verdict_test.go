//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/machine"
)

func TestMain(m *testing.M) { harness.Main(m) }

// slowMachines are the records of machines that were too slow to judge progress, each by another measure.
var slowMachines = map[string]func(h *history){
	"timers of the driver were late": func(h *history) {
		h.Paces = append(h.Paces, pace{From: 0, To: 1e9, Report: machine.Report{Window: time.Second, Worst: time.Second, Late: time.Second}})
	},
	"a client waited for a processor": func(h *history) {
		h.Paces = append(h.Paces, pace{Client: 2, From: 0, To: 1e9, Report: machine.Report{Window: time.Second, Starved: 0.9, Wait: time.Millisecond}})
	},
	"a node answered late": func(h *history) { h.Trips = append(h.Trips, trip{Node: 3, From: 1e9, To: 2e9}) },
}

// fineMachines are the records of machines that were not slow: all delays were caused by faults.
var fineMachines = map[string]func(h *history){
	"nothing was late": func(h *history) {
		h.Paces = append(h.Paces, pace{From: 0, To: 1e9, Report: machine.Report{Window: time.Second, Worst: 3 * time.Millisecond}})
		h.Trips = append(h.Trips, trip{Node: 3, From: 1e9, To: 1e9 + 1e6})
	},
	"a client ran and waited for moments": func(h *history) {
		h.Paces = append(h.Paces, pace{Client: 2, From: 0, To: 1e9, Report: machine.Report{Window: time.Second, Starved: 0.9, Wait: 100 * time.Microsecond}})
	},
	"a client was stopped by a fault": func(h *history) {
		h.Stalls[0].Halted = true
		h.Paces = append(h.Paces, pace{Client: 1, From: 300, To: 1e9, Report: machine.Report{Window: time.Second, Worst: time.Second, Late: time.Second}})
	},
	"a node was frozen by a fault": func(h *history) {
		h.Faults = append(h.Faults, span{Name: "node 3 frozen", Nodes: []int{3}, From: 1e9, To: 2e9})
		h.Trips = append(h.Trips, trip{Node: 3, From: 1e9 + 5e8, To: 2e9 + 5e8})
	},
}

// missing spoils the progress of a good history, and broken its safety.
var (
	missing = map[string]func(h *history){
		"a key that cannot be had": func(h *history) { h.Attempts[5].Acquired = 0 },
		"a leader unseen":          func(h *history) { h.Sightings[5].Token = 0 },
		"nothing kept":             func(h *history) { h.Deposits = h.Deposits[1:]; h.Deposits[2].Kept, h.Deposits[3].Kept = false, false },
		"a time-out by no fault":   func(h *history) { h.Attempts[2].Odd, h.Attempts[2].TimedOut = true, true },
	}
	broken = map[string]func(h *history){
		"a token twice":        func(h *history) { h.Attempts[4].Token = 10 },
		"a token that falls":   func(h *history) { h.Attempts[4].Token = 8 },
		"two holders":          func(h *history) { h.Attempts[1].Acquired = 29 },
		"an old token let in":  func(h *history) { h.Accesses[5].Accepted = true },
		"a lost checkpoint":    func(h *history) { h.Attempts[6].Found = version{} },
		"a made-up checkpoint": func(h *history) { h.Attempts[6].Found.N = 7 },
		"an old leader":        func(h *history) { h.Sightings[2].Asked = 7e9 },
		"an error by no fault": func(h *history) { h.Attempts[2].Odd = true },
	}
)

func verdictOn(h *history) verdict {
	r := run{h: h, slow: h.slowness()}
	r.judge(h)
	return r.verdict()
}

func TestVerdict_MissedProgressIsInconclusiveOnASlowMachineAndRedOnAFineOne(t *testing.T) {
	for what, spoil := range missing {
		for on, machines := range map[verdict]map[string]func(*history){inconclusive: slowMachines, behind: fineMachines} {
			for name, record := range machines {
				h := good()
				spoil(h)
				record(h)
				if got := verdictOn(h); got != on {
					t.Errorf("%s, %s: verdict %d, want %d", what, name, got, on)
				}
			}
		}
	}
}

func TestVerdict_AViolationIsRedOnEveryMachine(t *testing.T) {
	for what, spoil := range broken {
		for _, machines := range []map[string]func(*history){slowMachines, fineMachines} {
			for name, record := range machines {
				h := good()
				spoil(h)
				record(h)
				if got := verdictOn(h); got != violated {
					t.Errorf("%s, %s: verdict %d, want a violation", what, name, got)
				}
			}
		}
	}
}

// A violation remains a violation next to missed progress, or in a run that was cut short.
func TestVerdict_ARunCutShortIsJudgedForSafety(t *testing.T) {
	r := run{h: good()}
	r.fail("end the clients", fmt.Errorf("client 1 did not end: %w", os.ErrDeadlineExceeded))
	r.h.Attempts, r.h.Sightings = r.h.Attempts[:5], nil
	slowMachines["a node answered late"](r.h)
	r.judge(r.h)
	r.slow = r.h.slowness()
	if got := r.verdict(); got != inconclusive {
		t.Errorf("cut short on a slow machine: verdict %d: %q", got, r.texts())
	}
	r.h.Attempts[4].Token = 8
	r.judge(r.h)
	if got := r.verdict(); got != violated {
		t.Errorf("with a violation: verdict %d", got)
	}
}

func TestVerdict_AGoodHistoryPassesOnEveryMachine(t *testing.T) {
	for name, record := range slowMachines {
		h := good()
		record(h)
		if got := verdictOn(h); got != passed {
			t.Errorf("%s: verdict %d", name, got)
		}
	}
}

func TestFindings_OnlyTimeOutsOfTheMachineryAreProgress(t *testing.T) {
	for _, tt := range []struct {
		err    error
		missed bool
	}{
		{fmt.Errorf("redis-server does not answer: %w", os.ErrDeadlineExceeded), true},
		{context.DeadlineExceeded, true},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, true},
		{errors.New("exit status 2"), false},
		{context.Canceled, false},
		{fmt.Errorf("%w: %w", errors.New("open"), os.ErrDeadlineExceeded), true},
	} {
		var f findings
		f.fail("start", tt.err)
		if (len(f.missed) == 1) != tt.missed || (len(f.broken) == 1) == tt.missed {
			t.Errorf("%v: %+v", tt.err, f)
		}
	}
}

func TestFindings_OneThatWasLateExcusesNoOther(t *testing.T) {
	var f findings
	f.fail("end the clients", errors.Join(os.ErrDeadlineExceeded, errors.Join(errors.New("exit status 2"))))
	if len(f.missed) != 1 || len(f.broken) != 1 {
		t.Errorf("%+v", f)
	}
}

func TestJudgeLeft_OnlyWhatLivesTooLongIsAViolation(t *testing.T) {
	const most = time.Second
	for _, tt := range []struct {
		ttl, since     time.Duration
		broken, missed bool
	}{
		{ttl: -1, broken: true},
		{ttl: -1, since: 2 * most, broken: true},
		{ttl: most + 1, broken: true},
		{ttl: most + 1, since: 2 * most, broken: true},
		{ttl: most / 2, since: most + 1, missed: true},
		{ttl: most / 2, since: most / 2},
	} {
		broken, missed := judgeLeft(tt.ttl, tt.since, most)
		if (broken != "") != tt.broken || (missed != "") != tt.missed {
			t.Errorf("a TTL of %v after %v: broken %q, missed %q", tt.ttl, tt.since, broken, missed)
		}
	}
}

// A killed client believed to hold its key until it was killed. If a client ended by itself, nothing is known after the
// acquisition.
func TestCrowd_CollectEndsTheBeliefsOfClientsThatAreGone(t *testing.T) {
	w := newCrowd(2, nil)
	w.all = []*process{{number: 1, killedAt: 50}, {number: 2}}
	for client := 1; client <= 2; client++ {
		w.attempts[[2]int{client, 1}] = &attempt{Client: client, Key: "k", Call: 10, Acquired: 20}
	}
	var h history
	w.collect(&h)
	for _, a := range h.Attempts {
		if want := map[int]int64{1: 50, 2: 20}[a.Client]; a.Until != want {
			t.Errorf("client %d believed until %d, want %d", a.Client, a.Until, want)
		}
	}
}

func TestDescribe_NamesNoTimeAndNoSlotThatWasNot(t *testing.T) {
	h := history{Start: 1e9}
	for want, a := range map[string]attempt{
		"never acquired": {Call: 2e9},
		"held since":     {Call: 2e9, Acquired: 3e9},
		"held from":      {Call: 2e9, Acquired: 3e9, Until: 4e9},

		"(Lock to read, asked":        {Way: "Lock", Reads: true, Call: 2e9},
		"(Lock of slot 2 of 3, asked": {Way: "Lock", Limit: 3, Slot: 2, Call: 2e9, Acquired: 3e9},
		"(Lock, asked":                {Way: "Lock", Limit: 3, Call: 2e9},
	} {
		if got := h.describe(a); !strings.Contains(got, want) || strings.Contains(got, " -") {
			t.Errorf("%+v: %q, want %q", a, got, want)
		}
	}
}

func TestRun_SaysViolationsFirstInOneLineEach(t *testing.T) {
	r := run{h: good()}
	r.missed = []string{"late"}
	r.broken = []string{"two\nlines " + strings.Repeat("x", 10000)}
	texts := r.texts()
	if len(texts) != 2 || !strings.HasPrefix(texts[0], "violation: two lines") || texts[1] != "missed: late" || len(texts[0]) > 600 {
		t.Errorf("%q", texts)
	}
}

func TestTable_CountsVerdictsAndFitsATerminal(t *testing.T) {
	sc := Scenario{Name: strings.Repeat("n", 40)}
	table := NewTable([]Scenario{sc})
	add := func(spoil, record func(*history)) {
		h := good()
		h.Scenario = sc.Name
		spoil(h)
		record(h)
		r := run{h: h, slow: h.slowness()}
		r.judge(h)
		table.add(&r)
	}
	add(missing["a leader unseen"], slowMachines["a node answered late"])
	add(missing["a leader unseen"], fineMachines["nothing was late"])
	add(broken["a lost checkpoint"], slowMachines["a client waited for a processor"])
	text := table.String()
	for line := range strings.Lines(text) {
		if len([]rune(line)) > 121 {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
	}
	fields := strings.Fields(strings.Split(text, "\n")[1])
	if got := strings.Join(fields[1:5], " "); got != "3 1 1 1" {
		t.Errorf("runs, violated, missed, unclear are %s:\n%s", got, text)
	}
	if got := strings.Join(fields[10:], " "); got != "1000 1000" {
		t.Errorf("wait and trip are %s:\n%s", got, text)
	}
}

// pongs starts a node that answers each PING once it receives from let.
func pongs(t *testing.T, let <-chan struct{}) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				for buf := make([]byte, 64); ; {
					if _, err := conn.Read(buf); err != nil {
						return
					}
					<-let
					if _, err := conn.Write([]byte("+PONG\r\n")); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestProber_SeesANodeThatAnswersLate(t *testing.T) {
	quick, let := make(chan struct{}), make(chan struct{})
	close(quick)
	p, err := startProber([]string{pongs(t, quick), pongs(t, let)})
	if err != nil {
		t.Fatal(err)
	}
	let <- struct{}{} // answers the first PING of its connection, which does not count
	asked := func(node int) int {
		p.mu.Lock()
		defer p.mu.Unlock()
		n := 0
		for _, trip := range p.trips {
			if trip.Node == node {
				n++
			}
		}
		return n
	}
	harness.Eventually(t, "the quick node is asked several times while the other does not answer", func() bool { return asked(0) > 4 })
	close(let)
	harness.Eventually(t, "the late node has answered", func() bool { return asked(1) > 0 })
	h := history{Trips: p.close()}
	if slow := h.slowness(); !slices.ContainsFunc(slow, func(s string) bool { return strings.HasPrefix(s, "node 1 ") }) {
		t.Errorf("slow are %q", slow)
	}
}
