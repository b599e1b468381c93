//go:build unix

package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestCompare_PairsATurnWithTheTwoAroundIt(t *testing.T) {
	c, ok := compare([]float64{100, 400, 100}, []float64{100, 400})
	want := comparison{
		base: 100, next: 250, ratio: 1.25, pairs: [2]float64{0.5, 2}, noise: [2]float64{0.25, 4},
	}
	if !ok || c != want {
		t.Errorf("compare = %+v, %t\nwant      %+v", c, ok, want)
	}
}

func TestCompare_RefusesWhatWasNotMeasured(t *testing.T) {
	for name, turns := range map[string][2][]float64{
		"no turns":      {{}, {}},
		"no last turn":  {{1, 1}, {1, 1}},
		"zero in base":  {{1, 0, 1}, {1, 1}},
		"zero in next":  {{1, 1, 1}, {0, 1}},
		"not a number":  {{1, 1}, {nan()}},
		"one too many":  {{1, 1, 1, 1}, {1, 1}},
		"negative base": {{-1, -1}, {1}},
	} {
		if c, ok := compare(turns[0], turns[1]); ok {
			t.Errorf("%s: compare = %+v", name, c)
		}
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestCompare_DirectionNeedsMoreThanNoise(t *testing.T) {
	for name, c := range map[string]struct {
		base, next []float64
		want       int
	}{
		"equal":                            {[]float64{10, 10, 10, 10}, []float64{10, 10, 10}, 0},
		"less":                             {[]float64{10, 10, 10, 10}, []float64{9, 9, 9}, -1},
		"more":                             {[]float64{10, 10, 10, 10}, []float64{11, 11, 11}, 1},
		"more, under the threshold":        {[]float64{100, 100, 100, 100}, []float64{101, 101, 101}, 0},
		"less, under the threshold":        {[]float64{100, 100, 100, 100}, []float64{99, 99, 99}, 0},
		"less than the noise upwards":      {[]float64{10, 12, 12, 12}, []float64{9.9, 10.8, 10.8}, 0},
		"more than the noise, downwards":   {[]float64{12, 10, 10, 10}, []float64{12, 11.5, 11.5}, 0},
		"less than twice the noise":        {[]float64{10, 10.5, 10, 10.5}, []float64{9, 9, 9}, -1},
		"one pair in the other direction":  {[]float64{10, 10, 10, 10}, []float64{9, 9, 10.1}, 0},
		"a drift that both revisions meet": {[]float64{10, 12.1, 14.641}, []float64{11, 13.31}, 0},
	} {
		if got, ok := compare(c.base, c.next); !ok || got.direction != c.want {
			t.Errorf("%s: compare = %+v, %t, want direction %d", name, got, ok, c.want)
		}
	}
}

func TestMetrics_VerdictsSayWhichDirectionIsWorse(t *testing.T) {
	got := map[string][3]string{}
	for _, m := range metrics {
		for i, direction := range []int{-1, 0, 1} {
			v := got[m.name]
			v[i] = m.verdict(comparison{direction: direction})
			got[m.name] = v
		}
	}
	want := map[string][3]string{
		"ops/s":         {"slower", "same", "faster"},
		"client CPU/op": {"cheaper", "same", "costlier"},
		"server CPU/op": {"cheaper", "same", "costlier"},
		"memory/lease":  {"cheaper", "same", "costlier"},
		"p50":           {"faster", "same", "slower"},
		"p99":           {"faster", "same", "slower"},
	}
	if !maps.Equal(got, want) {
		t.Errorf("verdicts = %v\nwant       %v", got, want)
	}
}

func TestFailSlower_SeesWhatIsWorse(t *testing.T) {
	turns := func(rates ...float64) (all []figures) {
		for _, r := range rates {
			all = append(all, figures{Rate: r, ServerCPU: 10 / r})
		}
		return all
	}
	w := workloads[0]
	if got := worse(w, trial{turns: [2][]figures{turns(10, 10, 10), turns(5, 5)}}.lines(w)); len(got) != 2 {
		t.Errorf("half the rate at twice the cost: worse = %q, want two rows", got)
	}
	if got := worse(w, trial{turns: [2][]figures{turns(5, 5, 5), turns(10, 10)}}.lines(w)); len(got) != 0 {
		t.Errorf("twice the rate at half the cost: worse = %q", got)
	}
}

// tools skips the test if what a comparison of revisions needs is missing. It
// returns the directory for the temporary files of the test.
func tools(t *testing.T) string {
	t.Helper()
	if _, err := redisserver.Available(); err != nil {
		t.Skip(err)
	}
	if err := exec.Command("git", "rev-parse", "--verify", "HEAD").Run(); err != nil {
		t.Skip("no git, or not a clone:", err)
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

func isEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("%s was left behind", e.Name())
	}
}

func TestRevisions_ComparesHEADWithTheWorkingTree(t *testing.T) {
	dir := tools(t)
	rev := "HEAD"
	f := &flags{Base: &rev, Duration: 100 * time.Millisecond, Rounds: 1, Only: []string{"solo", "leases"}}
	var out bytes.Buffer
	if err := f.run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	isEmpty(t, dir)
	if trees, err := run(t.Context(), "git", "worktree", "list"); err != nil || strings.Contains(trees, dir) {
		t.Errorf("a work tree was left behind: %v\n%s", err, trees)
	}
	const ratio = `\d+\.\d{3}`
	for _, want := range []string{
		`(?m)^base  HEAD = [0-9a-f]+ \(.+\)$`,
		`(?m)^new   working tree at [0-9a-f]+ `,
		`(?m)^solo: `, `(?m)^leases: `, `new/base +of all pairs +A/A`,
		`(?m)^ *ops/s +\S+ +\S+ +` + ratio + ` +` + ratio + `…` + ratio + ` +` + ratio + `…` + ratio + ` +\w+ *$`,
		`(?m)^ *client CPU/op .*s +` + ratio, `(?m)^ *server CPU/op .*s +` + ratio,
		`(?m)^ *memory/lease +[\d,]+ B +[\d,]+ B `, `(?m)^ *p50 `, `(?m)^ *p99 `, regexp.QuoteMeta(rule),
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the report does not match %q:\n%s", want, out.String())
		}
	}
}

func TestRevisions_UnknownRevisionIsNamed(t *testing.T) {
	dir := tools(t)
	for _, rev := range []string{"no-such-revision", "--help", "HEAD HEAD", "HEAD:go.mod"} {
		f := &flags{Base: &rev, Duration: time.Second}
		err := f.run(t.Context(), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), rev) || !strings.Contains(err.Error(), "use a commit") {
			t.Errorf("--base %q: %v", rev, err)
		}
	}
	isEmpty(t, dir)
}

func TestRevisions_MissingToolsAreNamed(t *testing.T) {
	rev := "HEAD"
	f := &flags{Base: &rev, Duration: time.Second}
	t.Setenv("PATH", t.TempDir())
	if err := f.run(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "redis-server") {
		t.Errorf("without redis-server: %v", err)
	}
	if _, err := resolve(t.Context(), rev); err == nil || !strings.Contains(err.Error(), "install it") {
		t.Errorf("without git: %v", err)
	}
}

// changedAPI is a checkout of a library whose API the driver does not fit.
func changedAPI(t *testing.T, files map[string]string) (checkout string) {
	t.Helper()
	checkout = t.TempDir()
	all := map[string]string{
		"go.mod":             "module " + libraryPath + "\n\ngo 1.26.0\n",
		"go.sum":             "",
		"cluster/cluster.go": "package cluster\n",
		"lock/lock.go":       "package lock\n",
		"lease/lease.go":     "package lease\n",
	}
	maps.Copy(all, files)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		file := filepath.Join(checkout, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(all[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return checkout
}

func TestRevisions_ARevisionTheDriverDoesNotFit(t *testing.T) {
	tree, err := here()
	if err != nil {
		t.Fatal(err)
	}
	newPair := func(dir string) *pair {
		return &pair{base: "v1 = abc (old)", next: "working tree at def", drivers: [2]string{filepath.Join(dir, "driver-base")}}
	}
	t.Run("has no driver of its own", func(t *testing.T) {
		dir := t.TempDir()
		err := newPair(dir).buildBase(t.Context(), tree, changedAPI(t, nil), dir)
		if err == nil {
			t.Fatal("it compiles")
		}
		for _, want := range []string{"v1 = abc (old)", "working tree at def", "undefined: cluster.", "compare with a newer one"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
	})
	t.Run("has a driver of its own", func(t *testing.T) {
		dir := t.TempDir()
		p := newPair(dir)
		checkout := changedAPI(t, map[string]string{
			"benchmarks/go.mod":         "module " + libraryPath + "/benchmarks\n\ngo 1.26.0\n",
			"benchmarks/driver/main.go": "package main\n\nfunc main() {}\n",
		})
		if err := p.buildBase(t.Context(), tree, checkout, dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(p.drivers[0]); err != nil || !strings.Contains(p.note, "own revision") {
			t.Errorf("the driver: %v; note %q", err, p.note)
		}
	})
}
