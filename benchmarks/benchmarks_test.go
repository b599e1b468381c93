//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestJudge_FindsOverlapsAndTokensThatDoNotGrow(t *testing.T) {
	for name, c := range map[string]struct {
		holds []turn.Hold
		want  int
	}{
		"in order":         {[]turn.Hold{{From: 5, To: 6, Token: 2}, {From: 1, To: 2, Token: 1}}, 0},
		"without tokens":   {[]turn.Hold{{From: 1, To: 2}, {From: 2, To: 3}}, 0},
		"two at a time":    {[]turn.Hold{{From: 1, To: 3, Token: 1}, {From: 2, To: 4, Token: 2}}, 1},
		"an older token":   {[]turn.Hold{{From: 1, To: 2, Token: 2}, {From: 3, To: 4, Token: 1}}, 1},
		"the same token":   {[]turn.Hold{{From: 1, To: 2, Token: 2}, {From: 3, To: 4, Token: 2}}, 1},
		"both, repeatedly": {[]turn.Hold{{From: 1, To: 9, Token: 9}, {From: 2, To: 9, Token: 8}, {From: 3, To: 4, Token: 7}}, 4},
	} {
		if got := judge(c.holds, 0); len(got) != c.want {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
}

func TestJudge_LetsReadersOverlapWithReadersOnly(t *testing.T) {
	read := func(from, to, token int64) turn.Hold { return turn.Hold{From: from, To: to, Token: token, Read: true} }
	write := func(from, to, token int64) turn.Hold { return turn.Hold{From: from, To: to, Token: token} }
	for name, c := range map[string]struct {
		holds []turn.Hold
		want  int
	}{
		"readers":                            {[]turn.Hold{read(1, 9, 5), read(2, 4, 5), read(3, 8, 5)}, 0},
		"readers of two processes":           {[]turn.Hold{read(1, 9, 6), read(2, 4, 5)}, 0},
		"a reader after its writer":          {[]turn.Hold{write(1, 2, 5), read(2, 3, 5), write(3, 4, 6)}, 0},
		"a writer beside a reader":           {[]turn.Hold{read(1, 9, 5), write(2, 4, 6)}, 1},
		"beside one that is not the latest":  {[]turn.Hold{read(1, 9, 5), read(2, 3, 5), write(4, 5, 6)}, 1},
		"a reader beside a writer":           {[]turn.Hold{write(1, 9, 5), read(2, 4, 5)}, 1},
		"a reader with an older token":       {[]turn.Hold{write(1, 2, 5), read(3, 4, 4)}, 1},
		"a writer with a reader's token":     {[]turn.Hold{read(1, 2, 5), write(3, 4, 5)}, 1},
		"a writer older than another reader": {[]turn.Hold{read(1, 2, 7), read(1, 2, 5), write(3, 4, 6)}, 1},
		"readers without tokens":             {[]turn.Hold{read(1, 3, 0), read(2, 4, 0)}, 0},
	} {
		if got := judge(c.holds, 0); len(got) != c.want {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
}

func TestJudge_CountsHoldersOfAKeyWithALimit(t *testing.T) {
	hold := func(from, to, token int64, slot int) turn.Hold {
		return turn.Hold{From: from, To: to, Token: token, Slot: slot}
	}
	for name, c := range map[string]struct {
		holds []turn.Hold
		want  int
	}{
		"as many as the limit":          {[]turn.Hold{hold(1, 9, 1, 1), hold(2, 9, 2, 2), hold(9, 10, 3, 1)}, 0},
		"a smaller token of a slot":     {[]turn.Hold{hold(1, 2, 8, 1), hold(3, 4, 7, 1)}, 1},
		"a smaller token, another slot": {[]turn.Hold{hold(1, 2, 8, 1), hold(3, 4, 7, 2)}, 0},
		"a token twice":                 {[]turn.Hold{hold(1, 9, 8, 1), hold(3, 4, 8, 2)}, 1},
		"two in a slot":                 {[]turn.Hold{hold(1, 9, 1, 1), hold(3, 4, 2, 1)}, 1},
		"one too many":                  {[]turn.Hold{hold(1, 9, 1, 1), hold(2, 9, 2, 2), hold(3, 9, 3, 3)}, 1},
		"one too many, without slots":   {[]turn.Hold{hold(1, 9, 0, 0), hold(2, 9, 0, 0), hold(3, 9, 0, 0), hold(9, 10, 0, 0)}, 1},
	} {
		if got := judge(c.holds, 2); len(got) != c.want {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
}

func TestFigures_AreThoseOfTheSample(t *testing.T) {
	s := turn.Sample{
		Elapsed: 2 * time.Second, PerWorker: []int{30, 70}, CPU: time.Second, ServerCPU: 3 * time.Second,
		Mallocs: 500, Memory: 7, Failed: 1,
	}
	for i := range 100 {
		s.Latencies = append(s.Latencies, time.Duration(100-i)*time.Millisecond)
	}
	got, err := figuresOf(s)
	want := figures{
		Rate: 50, P50: 51 * time.Millisecond, P99: 100 * time.Millisecond, Max: 100 * time.Millisecond,
		CPU: 10e6, ServerCPU: 30e6, Allocs: 5, Memory: 7, LeastServed: 0.6, Failed: 1,
	}
	if err != nil || got != want {
		t.Errorf("figures = %+v, %v\nwant      %+v", got, err, want)
	}
	modes := turn.Sample{
		Elapsed: 10, PerWorker: []int{2, 4}, Reads: []int{1, 1}, Limit: 2,
		Holds: []turn.Hold{{From: 1, To: 4, Slot: 1}, {From: 2, To: 9, Slot: 2}, {From: 4, To: 5, Slot: 1}},
	}
	if got, err := figuresOf(modes); err != nil || got.LeastReads != 1 || got.LeastWrites != 0.5 || got.InUse != 0.55 || got.Most != 2 {
		t.Errorf("figures of modes = %+v, %v", got, err)
	}
	if got, err := figuresOf(turn.Sample{Elapsed: time.Second, PerWorker: []int{5}}); err != nil || got.Rate != 5 || got.P99 != 0 {
		t.Errorf("figures without latencies = %+v, %v", got, err)
	}
	if _, err := figuresOf(turn.Sample{}); err == nil {
		t.Error("figures of nothing")
	}
}

func TestMiddle_IsTheMedianOfEachFigure(t *testing.T) {
	m := middle([]figures{{Rate: 3, ServerCPU: 1, Most: 7, Failed: 1}, {Rate: 1, ServerCPU: 5, InUse: 0.5, Failed: 1}, {Rate: 2, ServerCPU: 4, InUse: 0.7}})
	if m.Rate != 2 || m.ServerCPU != 4 || m.InUse != 0.5 || m.Most != 7 || m.Failed != 2 {
		t.Errorf("middle = %+v", m)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of four values = %v, want 2.5", got)
	}
}

func TestParseCPU_AddsUpSystemAndUserTime(t *testing.T) {
	const info = "# CPU\r\nused_cpu_sys:1.250000\r\nused_cpu_user:0.500001\r\nused_cpu_sys_children:9.000000\r\n" +
		"used_cpu_user_children:9.000000\r\nused_cpu_sys_main_thread:7.0\r\nused_cpu_user_main_thread:7.0\r\n"
	got, err := parseCPU(info)
	if want := 1750*time.Millisecond + time.Microsecond; err != nil || got != want {
		t.Errorf("parseCPU = %v, %v, want %v", got, err, want)
	}
	for _, info := range []string{"", "used_cpu_sys:1.0\r\n", "used_cpu_sys:1.0\r\nused_cpu_user:much\r\n"} {
		if got, err := parseCPU(info); err == nil {
			t.Errorf("parseCPU(%q) = %v, want an error", info, got)
		}
	}
}

func TestFlags_SayWhatIsWrong(t *testing.T) {
	rev, blank := "HEAD", " "
	for want, f := range map[string]flags{
		"--duration 1ms":    {Duration: time.Millisecond},
		"--rounds -1":       {Duration: time.Second, Rounds: -1},
		"--base is empty":   {Duration: time.Second, Base: &blank},
		"--write cannot":    {Duration: time.Second, Base: &rev, Write: "."},
		"--fail-slower":     {Duration: time.Second, FailSlower: true},
		"there are: solo":   {Duration: time.Second, Only: []string{"nothing"}},
		"--only leases: no": {Duration: time.Second, Only: []string{"leases"}},
	} {
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want an error with %q", err, want)
		}
	}
	f := flags{Duration: time.Second, Base: &rev, Only: []string{"takeover", "leases"}}
	if err := f.Validate(); err != nil || len(f.chosen()) != 2 {
		t.Errorf("Validate = %v, chosen %d workloads, want 2", err, len(f.chosen()))
	}
}

func TestWrite_ReplacesOnlyWhatWasMeasured(t *testing.T) {
	dir := t.TempDir()
	page, image := filepath.Join(dir, "performance.md"), filepath.Join(dir, "performance.svg")
	text := "a\n" + from(libraries) + "\nold\n" + to(libraries) + "\nb\n" + from(modes) + "\nold modes\n" + to(modes) + "\nc\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	named := func(name string) workload {
		return workloads[slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })]
	}
	keys := named("modes keys")
	ofModes := []row{
		{workload: keys, name: turn.Several, figures: figures{Rate: 30, P50: 3}},
		{workload: keys, name: turn.Redlock, figures: figures{Rate: 60, P50: 2}},
	}
	f := &flags{Duration: time.Second, Rounds: 2, Only: []string{"modes keys"}}
	if err := write(dir, "a machine", f, ofModes); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"a\n" + from(libraries) + "\nold\n" + to(libraries) + "\nb\n", "c\n", "Measured on a machine, with\n",
		"    go -C benchmarks run . --duration 1s --rounds 2 --only \"modes keys\" --write ../docs\n",
		"|redlock, 8 keys is|", "|p50 against|", "|redlock|60|0.50 ×|", "|1.50 × as late|",
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the page does not contain %q:\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old modes") {
		t.Errorf("the page contains what was measured before:\n%s", got)
	}
	if _, err := os.Stat(image); err == nil {
		t.Error("the picture of the libraries was replaced by one of the modes")
	}
	solo := row{workload: named("solo"), name: turn.Redlock, figures: figures{Rate: 10}}
	if err := write(dir, "a machine", f, append([]row{solo}, ofModes...)); err != nil {
		t.Fatal(err)
	}
	got, err = os.ReadFile(page)
	if err != nil || strings.Contains(string(got), "old") || !strings.Contains(string(got), "|redlock|10||") {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := os.Stat(image); err != nil {
		t.Error(err)
	}
}

// The driver must compile against older revisions, whose internal packages are
// different.
func TestDriver_UsesThePublicAPIOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, "./driver", "./internal/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), libraryPath+"/lock\n") {
		t.Fatalf("go list shows no import of package lock:\n%s", out)
	}
	for imported := range strings.Lines(string(out)) {
		if strings.HasPrefix(imported, libraryPath+"/internal/") {
			t.Errorf("the driver imports %s", imported)
		}
	}
}

// All workloads run for a moment without a fault of this module.
func TestWorkloads_Run(t *testing.T) {
	if _, err := redisserver.Available(); err != nil {
		t.Skip(err)
	}
	driver := filepath.Join(t.TempDir(), "driver")
	if err := buildDriver(t.Context(), module{dir: "."}, driver); err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads {
		t.Run(w.name, func(t *testing.T) {
			s, err := take(t.Context(), w, contender{w.subject(), driver}, 100*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range faults(s) {
				t.Error(text)
			}
			f, err := figuresOf(s)
			if err != nil || f.Rate <= 0 {
				t.Errorf("%.0f/s, %v", f.Rate, err)
			}
			if !w.late && f.ServerCPU <= 0 {
				t.Error("no processor time of the servers was measured")
			}
		})
	}
	for _, w := range workloads {
		if !w.inModes() {
			continue
		}
		for _, library := range w.peers[1:] {
			t.Run(w.name+" by "+library, func(t *testing.T) {
				s, err := take(t.Context(), w, contender{library, driver}, 100*time.Millisecond)
				if all := faults(s); err != nil || len(all) > 0 || s.Ops() == 0 {
					t.Errorf("%d operations, %v, %q", s.Ops(), err, all)
				}
			})
		}
	}
	t.Run("interrupted", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ends := plain(1, turn.Own)
		w := workload{turn: func(s *stage) (turn.Sample, error) {
			time.AfterFunc(50*time.Millisecond, cancel)
			return ends(s)
		}}
		if _, err := take(ctx, w, contender{turn.Redlock, driver}, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("take = %v, want context.Canceled", err)
		}
		isEmpty(t, dir)
	})
	t.Run(raw, func(t *testing.T) {
		s, err := take(t.Context(), workload{turn: plain(256, turn.Own)}, contender{library: raw}, 100*time.Millisecond)
		if f, figuresErr := figuresOf(s); err != nil || figuresErr != nil || f.ServerCPU <= 0 {
			t.Errorf("figures %+v, %v, %v", f, err, figuresErr)
		}
	})
}
