package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

// names are the nodes' names.
func names(urls []string) []string {
	all := make([]string, len(urls))
	for i, url := range urls {
		all[i] = strings.TrimPrefix(url, "redis://")
	}
	return all
}

// decode reads a program's JSON.
func decode[T any](t *testing.T, p *program) (doc T) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.stdout.String()), &doc); err != nil {
		t.Fatalf("%v in:\n%s\nstderr:\n%s", err, p.stdout, p.stderr)
	}
	return doc
}

// operate runs a command to its end, again if a machine that is busy let too few nodes answer in time.
func operate(t *testing.T, urls []string, code int, args ...string) *program {
	t.Helper()
	began := time.Now()
	for range 20 {
		p := launch(t, urls, args...)
		if p.ended() != exitNoQuorum || code == exitNoQuorum {
			p.exit(code)
			return p
		}
	}
	harness.Missed(t, began, "%q: too few nodes answer", args)
	return nil
}

// ended waits for the end and returns the exit code.
func (p *program) ended() int {
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

// timed is how long a program runs.
func timed(t *testing.T, urls []string, code int, args ...string) (took time.Duration, p *program) {
	t.Helper()
	began := time.Now()
	p = operate(t, urls, code, args...)
	return time.Since(began), p
}

// Each command answers within a few node time-outs more than on a healthy set, and says which nodes it did not hear.
func TestOperatorsAreToldOfAStoppedAndAFrozenNode(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 5, redisserver.Options{})
	locker := newLocker(t, s.URLs())
	l, err := locker.Lock(t.Context(), "order:42", lock.Owner("nightly"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(context.Background())
	commands := [][]string{{"ls"}, {"inspect", "order:42"}, {"nodes"}, {"doctor"}, {"top"}}
	healthy := make([]time.Duration, len(commands))
	for i, args := range commands {
		var p *program
		healthy[i], p = timed(t, s.URLs(), 0, args...)
		if out := p.stdout.String(); strings.Contains(out, "does not answer") || p.stderr.String() != "" {
			p.wrong("%q on a healthy set:\n%s%s", args, out, p.stderr)
		}
	}
	s.Stop(1)
	s.Pause(3)
	nodes := names(s.URLs())
	for i, args := range commands {
		took, p := timed(t, s.URLs(), 0, args...)
		out := p.stdout.String()
		for _, lost := range []int{1, 3} {
			if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
				return strings.Contains(line, nodes[lost]) && !strings.Contains(line, " up ")
			}) {
				p.wrong("%q does not say that node %s is lost:\n%s", args, nodes[lost], out)
			}
		}
		if args[0] != "nodes" && args[0] != "doctor" && (!strings.Contains(out, "order:42") || !strings.Contains(out, "nightly (")) {
			p.wrong("%q does not say who has the lock:\n%s", args, out)
		}
		began := time.Now()
		for range 4 { // a machine that tests other things too takes its time
			if took-healthy[i] <= 6*nodeTimeout {
				break
			}
			took, _ = timed(t, s.URLs(), 0, args...)
		}
		if more := took - healthy[i]; more > 6*nodeTimeout {
			harness.Missed(t, began, "%q took %v more than the %v on a healthy set, far above the node time-out", args, more, healthy[i])
		}
		t.Logf("%q: %v, healthy %v", args, took, healthy[i])
	}
	s.Stop(0)
	for _, args := range [][]string{{"ls"}, {"inspect", "order:42"}, {"nodes"}, {"doctor"}} {
		p := operate(t, s.URLs(), exitNoQuorum, args...)
		if all := p.stdout.String() + p.stderr.String(); !strings.Contains(all, nodes[0]) || !strings.Contains(all, nodes[1]) || !strings.Contains(all, nodes[3]) {
			t.Errorf("%q without a quorum does not name the nodes:\n%s", args, all)
		}
	}
}

func TestOperatorsOutputIsForProgramsToo(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	locker := newLocker(t, s.URLs())
	l, err := locker.Lock(t.Context(), "order:42")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(context.Background())
	json := func(code int, args ...string) *program {
		return operate(t, s.URLs(), code, append(args, "--output", "json")...)
	}
	host, _ := os.Hostname()
	all := decode[listing](t, json(0, "ls", "order:"))
	if len(all.Locks) != 1 || len(all.Troubles) != 0 {
		t.Fatalf("%+v", all)
	}
	one := decode[lockDoc](t, json(0, "inspect", "order:42"))
	for _, d := range []lockDoc{all.Locks[0], one} {
		h := d.Holder
		if d.Key != "order:42" || d.State != "held" || d.Votes != 3 || d.Need != 2 || d.Token < l.Token() || len(d.Nodes) != 3 ||
			d.AgeMs == nil || *d.AgeMs < 0 || d.LeftMs == nil || *d.LeftMs <= 0 ||
			h.Writer != "redlock" || h.Name != "the test" || h.Host != host || h.PID != os.Getpid() {
			t.Errorf("%+v, holder %+v", d, h)
		}
	}
	if free := decode[lockDoc](t, json(exitNobody, "inspect", "nothing")); free.State != "free" || free.Holder != nil {
		t.Errorf("%+v", free)
	}
	if n := decode[surveyDoc](t, json(0, "nodes")); n.Quorum != 2 || len(n.Nodes) != 3 || !n.Nodes[0].Up || n.Nodes[0].LatencyMs <= 0 {
		t.Errorf("%+v", n)
	}
	if d := decode[diagnosis](t, json(0, "doctor")); d.Up != 3 || d.Quorum != 2 || len(d.Findings) == 0 || d.Findings[0].Fix == "" {
		t.Errorf("%+v", d)
	}
	if docs := decode[[]benchDoc](t, json(0, "bench", "--vs", "redsync", "--duration", "400ms", "-c", "2")); len(docs) != 4 ||
		docs[0].Library != "redlock" || docs[0].P50Ms <= 0 || docs[0].Rate <= 0 || docs[3].Library != "redsync" || docs[3].Workers != 2 {
		t.Errorf("%+v", docs)
	}
}

func TestDoctorFailsOnWhatCanLoseLocks(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Args: []string{"--maxmemory-policy", "allkeys-lru"}})
	p := operate(t, s.URLs(), 1, "doctor")
	for _, want := range []string{"danger   nodes " + strings.Join(names(s.URLs()), ", "), "fix: CONFIG SET maxmemory-policy noeviction",
		"3 dangers: each can lose locks, or will not go away by itself."} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, p.stdout)
		}
	}
}

func TestReleaseByForceAtOnce(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	locker := newLocker(t, s.URLs())
	l, err := locker.Lock(t.Context(), "order:42")
	if err != nil {
		t.Fatal(err)
	}
	operate(t, s.URLs(), 2, "release", "order:42")                                // without --force
	operate(t, s.URLs(), 2, "release", "--force", "--output", "json", "order:42") // nobody could answer
	operate(t, s.URLs(), exitNobody, "release", "--force", "--yes", "another")    // free
	operate(t, s.URLs(), 0, "release", "--force", "--yes", "--now", "order:42")   // taken
	operate(t, s.URLs(), exitNobody, "inspect", "order:42")                       // and free
	if err := l.Release(t.Context()); !errors.Is(err, lock.ErrLost) {
		t.Errorf("its holder is told %v", err)
	}
}

func TestCompletionsAreUnderstoodByTheirShells(t *testing.T) {
	t.Parallel()
	for shell, check := range map[string]string{
		"bash": `source "$1"; try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _redlock; echo "${COMPREPLY[*]}"; }
			try redlock in; try redlock ls --out; try redlock ls --output ""; try redlock completion f; try redlock ls -o j`,
		"fish": `source $argv[1]; for line in "redlock in" "redlock ls --out" "redlock ls --output " "redlock completion f" "redlock ls -o j"
			complete -C $line | string replace -r '\t.*' '' | string join ' '; end; true`,
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			script := launch(t, nil, "completion", shell)
			script.exit(0)
			if shell == "fish" {
				needTerminals(t, shell)
			} else if _, err := exec.LookPath(shell); err != nil {
				t.Skip(shell + " is not installed")
			}
			file := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(file, []byte(script.stdout.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"-c", check, "shell", file}
			if shell == "fish" {
				args = []string{"--no-config", "-c", check, file}
			}
			out, err := exec.Command(shell, args...).CombinedOutput()
			want := "inspect|--output|json table|fish|json"
			if got := strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), "|"); err != nil || got != want {
				t.Errorf("%v; it completes\n%s\nwant\n%s\nthe script:\n%s", err, got, want, script.stdout)
			}
		})
	}
}

func TestTheOperatorsCommandLineIsExplained(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string // on either output
	}{
		{[]string{"--help"}, 0, "Take a lock away from its holder."},
		{[]string{"ls", "--help"}, 0, "+scan"},
		{[]string{"inspect", "--help"}, 0, "3 nobody has"},
		{[]string{"nodes", "--help"}, 0, "noeviction"},
		{[]string{"doctor", "--help"}, 0, "1 danger"},
		{[]string{"release", "--help"}, 0, "No token is ever used again"},
		{[]string{"top", "--help"}, 0, "Ctrl-C or q ends it"},
		{[]string{"bench", "--help"}, 0, "gone after two minutes"},
		{[]string{"completion", "--help"}, 0, "source <(redlock completion bash)"},
		{[]string{"ls"}, 2, "no nodes configured"},
		{[]string{"ls", "--output", "xml"}, 2, "see redlock ls --help"},
		{[]string{"inspect"}, 2, "<KEY>"},
		{[]string{"release", "order:42"}, 2, "--force"},
		{[]string{"release", "--force", "-o", "json", "order:42"}, 2, "--output json: asks nothing; give --yes"},
		{[]string{"top", "--every", "1ms"}, 2, "--every 1ms: too often; at least 100ms"},
		{[]string{"bench", "--duration", "1ms"}, 2, "--duration 1ms: from 400ms to 10m"},
		{[]string{"bench", "-c", "0"}, 2, "from 1 to 4096 workers"},
		{[]string{"completion", "tcsh"}, 2, "bash"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			p := launch(t, nil, tt.args...)
			p.exit(tt.code)
			all := p.stdout.String() + p.stderr.String()
			if oneLine := strings.Join(strings.Fields(all), " "); !strings.Contains(oneLine, tt.want) {
				t.Errorf("no %q in:\n%s", tt.want, all)
			}
		})
	}
}

// Text that others wrote can not act on the terminal.
func TestWhatOthersWroteIsEscaped(t *testing.T) {
	for in, want := range map[string]string{
		"order:42": "order:42", "ключ": "ключ", "a\x1b[2Jb": `a\x1b[2Jb`, "two\nlines": `two\nlines`, "\xff": `\xff`, "a\"b\x00": `a"b\x00`,
		"\u202egnirts": `\u202egnirts`,
	} {
		if got := shown(in); got != want {
			t.Errorf("shown(%q) = %s, want %s", in, got, want)
		}
	}
	if got := short("абвгд", 4); got != "абв…" {
		t.Error(got)
	}
}

func TestSpansAreReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0s", 1234 * time.Millisecond: "1.2s", 42 * time.Second: "42s", 61 * time.Second: "1m01s", 2*time.Hour + 5*time.Minute: "2h05m",
		75 * time.Hour: "3d03h", -3 * time.Second: "-3.0s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestATableIsAligned(t *testing.T) {
	var out strings.Builder
	table(&out, []string{"KEY", ">N"}, [][]string{{"ключ", "1"}, {"k", "123"}})
	if want := "KEY     N\nключ    1\nk     123\n"; out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

func TestBarsShowHowSamplesAreSpread(t *testing.T) {
	samples := []time.Duration{1, 1, 1, 1, 10, 10, 100}
	if got := bars(samples, 1, 100, 4); got != "█ ▄▂" {
		t.Errorf("got %q", got)
	}
}
