//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

// testCommand returns the words with which redlock runs command (in
// command_test.go).
func testCommand(t *testing.T, args ...string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"--", "env", as + "=command", exe}, args...)
}

// with appends a command to the flags of run.
func with(command []string, flags ...string) []string {
	return append(append([]string{"run"}, flags...), command...)
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRun_CommandsOnTheSameKeyDoNotOverlap(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, s harness.Set) {
		const shells, each = 2, 4
		dir := t.TempDir()
		script := fmt.Sprintf(`cd %q
mkdir inside || echo OVERLAP
n=$(cat count); echo "$REDLOCK_TOKEN" >>tokens; echo $((n + 1)) >count
rmdir inside`, dir)
		if err := os.WriteFile(filepath.Join(dir, "count"), []byte("0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range shells {
			wg.Go(func() {
				for range each {
					p := launch(t, s.URLs(), "run", "key", "--", "sh", "-c", script)
					p.exit(0)
					if out := p.stdout.String(); out != "" {
						t.Error(out)
					}
				}
			})
		}
		wg.Wait()
		if t.Skipped() { // one of the goroutines found the machine too slow
			return
		}
		if got := read(t, dir, "count"); got != fmt.Sprintln(shells*each) {
			t.Errorf("counted to %s", got)
		}
		last := 0
		for _, word := range strings.Fields(read(t, dir, "tokens")) {
			token, err := strconv.Atoi(word)
			if err != nil || token <= last {
				t.Errorf("token %s after %d", word, last)
			}
			last = token
		}
	})
}

func TestRun_WaitsUntilTheOtherHasEnded(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		file := filepath.Join(t.TempDir(), "order")
		first := launch(t, s.URLs(), "run", "key", "--", "sh", "-c", `echo "in $REDLOCK_TOKEN"; cat; echo first >>"$0"`, file)
		first.stdout.line(t, "in ")
		second := launch(t, s.URLs(), "run", "-v", "key", "--", "sh", "-c", `echo "in $REDLOCK_TOKEN"; echo second >>"$0"`, file)
		second.stderr.line(t, "waiting for")
		if _, err := io.WriteString(first.stdin, "standard input\n"); err != nil {
			t.Fatal(err)
		}
		first.exit(0)
		second.exit(0)
		if got := read(t, filepath.Dir(file), "order"); got != "first\nsecond\n" {
			t.Errorf("order: %q", got)
		}
		a, b := first.stdout.line(t, "in "), second.stdout.line(t, "in ")
		if len(a) > len(b) || len(a) == len(b) && a >= b {
			t.Errorf("tokens do not grow: %q, then %q", a, b)
		}
		if !strings.HasSuffix(first.stdout.String(), "\nstandard input\n") {
			t.Errorf("standard input did not pass through: %q", first.stdout)
		}
	})
}

func TestRun_ReturnsTheExitCodeOfTheCommand(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	locker := newLocker(t, s.URLs())
	if _, err := locker.TryLock(t.Context(), "taken"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"data": "", "script": "#!/no/such/interpreter\n"} {
		mode := os.FileMode(0o600)
		if name == "script" {
			mode = 0o700
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string // on standard error; "" for nothing
	}{
		{"success", []string{"free", "--", "true"}, 0, ""},
		{"without dashes, flags of its own", []string{"free", "sh", "-c", "exit 4"}, 4, ""},
		{"the command's", []string{"free", "--", "sh", "-c", "exit 7"}, 7, ""},
		{"killed", []string{"free", "--", "sh", "-c", "kill -9 $$"}, 137, ""},
		{"not found", []string{"free", "--", "no-such-command"}, 127, "no-such-command: command not found"},
		{"not found, a path", []string{"free", "--", dir + "/nothing"}, 127, "no such file"},
		{"not executable", []string{"free", "--", dir + "/data"}, 126, "permission denied"},
		{"a folder", []string{"free", "--", dir}, 126, "is a directory"},
		{"no interpreter", []string{"free", "--", dir + "/script"}, 127, "no such file"},
		{"conflict", []string{"--no-wait", "taken", "--", "echo", "never"}, 75, `"taken" is held by "the test"; not waiting`},
		{"conflict after waiting", []string{"--wait", "1s", "taken", "--", "echo", "never"}, 75, "waited 1s without success"},
		{"conflict, no waiting", []string{"--wait", "0s", "taken", "--", "echo", "never"}, 75, "not waiting"},
		{"conflict, another code", []string{"-E", "3", "--no-wait", "taken", "--", "echo", "never"}, 3, "is held by"},
		{"several keys", []string{"free", "other", "free", "--", "sh", "-c", "exit 5"}, 5, ""},
		{"conflict of several keys", []string{"--no-wait", "other", "taken", "spare", "--", "echo", "never"}, 75, `"taken" is held by "the test"; not waiting`},
		{"dashes of the command", []string{"free", "sh", "-c", "exit $#", "--", "one", "two"}, 2, ""},
		{"another prefix", []string{"--prefix", "mine:", "--no-wait", "taken", "--", "true"}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := launch(t, s.URLs(), append([]string{"run"}, tt.args...)...)
			p.exit(tt.code)
			if p.stdout.String() != "" {
				t.Errorf("the command ran: %s", p.stdout)
			}
			if got := p.stderr.String(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				p.wrong("no %q on standard error:\n%s", tt.want, got)
			}
			l, err := locker.TryLock(t.Context(), "free")
			if err != nil {
				t.Fatalf("the lock was not released: %v", err)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRun_SeveralKeysAreHeldAndTheirTokensNamed(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	locker := newLocker(t, s.URLs())
	p := launch(t, s.URLs(), "run", "-v", "b", "a", "b", "--", "sh", "-c",
		`echo "tokens $REDLOCK_TOKEN_1 $REDLOCK_TOKEN_2 $REDLOCK_TOKENS${REDLOCK_TOKEN-}${REDLOCK_KEY-}"; read end`)
	var one, two int64
	var text string
	if _, err := fmt.Sscanf(p.stdout.line(t, "tokens"), "tokens %d %d %s", &one, &two, &text); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"a":%d,"b":%d}`, two, one); text != want {
		t.Errorf("the tokens are %s, want %s", text, want)
	}
	for key, token := range map[string]int64{"b": one, "a": two} {
		if _, err := locker.TryLock(t.Context(), key); !errors.Is(err, lock.ErrNotAcquired) {
			t.Errorf("%q is not held: %v", key, err)
		}
		if token == 0 {
			t.Errorf("the token of %q is 0", key)
		}
	}
	if _, err := io.WriteString(p.stdin, "\n"); err != nil {
		t.Fatal(err)
	}
	p.exit(0)
	for _, want := range []string{`acquired "b", "a"`, `released "b", "a"`} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("no %s in:\n%s", want, p.stderr)
		}
	}
	if l, err := locker.LockAll(t.Context(), []string{"a", "b"}, lock.NoWait()); err != nil || l.Token("a") <= two || l.Token("b") <= one {
		t.Errorf("after the command: %v", err)
	}
}

// In a run within a run, the command must not mistake the outer token for its
// own.
func TestEnvironment_HasNoTokensOfARunAround(t *testing.T) {
	for _, name := range []string{
		"REDLOCK_KEY", "REDLOCK_TOKEN", "REDLOCK_TOKENS", "REDLOCK_TOKEN_1", "REDLOCK_TOKEN_12", "REDLOCK_SLOT",
		"REDLOCK_SHARED", "REDLOCK_SHARED_1", "REDLOCK_SHARED_12", "REDLOCK_SHARED_KEYS",
	} {
		t.Setenv(name, "outer")
	}
	t.Setenv("REDLOCK_TOKENIZER", "not ours")
	env := (&runFlags{}).environment(tokenOf("key", 7))
	if !slices.Contains(env, "REDLOCK_TOKEN=7") || !slices.Contains(env, "REDLOCK_KEY=key") || !slices.Contains(env, "REDLOCK_TOKENIZER=not ours") {
		t.Errorf("the command sees %q", env)
	}
	if i := slices.IndexFunc(env, func(s string) bool { return strings.HasSuffix(s, "=outer") }); i >= 0 {
		t.Errorf("the command sees %q of the outer run", env[i])
	}
}

func TestTokensOf_SaysWhichAreAReaders(t *testing.T) {
	token := func(key string) int64 { return map[string]int64{"a": 7, "b": 8, "c": 9}[key] }
	read := func(keys ...string) func(string) bool {
		return func(key string) bool { return slices.Contains(keys, key) }
	}
	for _, tt := range []struct {
		keys, read string
		want       []string
	}{
		{"a", "", []string{"REDLOCK_KEY=a", "REDLOCK_TOKEN=7"}},
		{"a", "a", []string{"REDLOCK_KEY=a", "REDLOCK_TOKEN=7", "REDLOCK_SHARED=1"}},
		{"a b", "", []string{"REDLOCK_TOKEN_1=7", "REDLOCK_TOKEN_2=8", `REDLOCK_TOKENS={"a":7,"b":8}`}},
		{"a c b", "c b", []string{
			"REDLOCK_TOKEN_1=7", "REDLOCK_TOKEN_2=9", "REDLOCK_TOKEN_3=8", `REDLOCK_TOKENS={"a":7,"b":8,"c":9}`,
			"REDLOCK_SHARED_2=1", "REDLOCK_SHARED_3=1", `REDLOCK_SHARED_KEYS=["c","b"]`,
		}},
	} {
		if got := tokensOf(strings.Fields(tt.keys), token, read(strings.Fields(tt.read)...)); !slices.Equal(got, tt.want) {
			t.Errorf("%q, of which %q are read: %q, want %q", tt.keys, tt.read, got, tt.want)
		}
	}
}

// Without its own "--" a command would lose its first words to the keys.
func TestRun_AKeyThatNamesAProgramIsRefused(t *testing.T) {
	t.Parallel()
	p := launch(t, nodes(t, 1).URLs(), "run", "key", "sh", "exec", "--", "echo", "never")
	p.exit(2)
	for _, want := range []string{`KEY "sh" is the name of a program`, "redlock run KEY -- sh"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("no %q in:\n%s", want, p.stderr)
		}
	}
}

func TestRun_SaysHowToGetNodes(t *testing.T) {
	t.Parallel()
	p := launch(t, nil, "run", "key", "--", "true")
	p.exit(2)
	for _, want := range []string{"no nodes configured", "REDLOCK_NODES=", "--nodes", "redlock dev"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("no %q in:\n%s", want, p.stderr)
		}
	}
}

func TestRun_FailsWithoutAQuorum(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	s.Stop(0)
	s.Stop(2)
	p := launch(t, s.URLs(), "run", "--wait", "1s", "key", "--", "echo", "never")
	p.exit(69)
	for _, u := range s.URLs()[:1] {
		if host := strings.TrimPrefix(u, "redis://"); !strings.Contains(p.stderr.String(), host) {
			t.Errorf("%s is not named in:\n%s", host, p.stderr)
		}
	}
	if p.stdout.String() != "" {
		t.Error("the command ran")
	}
}

func TestRun_NeverShowsAPassword(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Password: "right"})
	const wrong = "s3cr3t-w0rd"
	bad := make([]string, s.Len())
	for i, u := range s.URLs() {
		bad[i] = strings.Replace(u, "right", wrong, 1)
	}
	for name, urls := range map[string][]string{
		"refused": bad, "not a URL": {"redis://:" + wrong + "@host:not-a-port"}, "twice": {bad[0], bad[0]},
		"unknown scheme": {"http://:" + wrong + "@host:1"}, "unreachable": {"redis://:" + wrong + "@127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, urls, "run", "-v", "--wait", "1s", "key", "--", "true")
			want := 2
			if name == "unreachable" {
				want = 69
			}
			p.exit(want)
			if all := p.stdout.String() + p.stderr.String(); strings.Contains(all, wrong) || all == "" {
				t.Errorf("the password, or nothing, is in:\n%s", all)
			}
		})
	}
	p := launch(t, s.URLs(), "run", "key", "--", "true")
	p.exit(0)
}

// The URLs may contain passwords, which the command does not need.
func TestRun_DoesNotPassTheNodesToTheCommand(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	const show = `echo "nodes: $REDLOCK_NODES."`
	for _, args := range [][]string{{"run", "key"}, {"run", "--once", "key"}, {"campaign", "key"}} {
		p := launch(t, s.URLs(), append(args, "--", "sh", "-c", show)...)
		p.exit(0)
		p.prints(`nodes: \.`)
	}
	p := launch(t, s.URLs(), "run", "--pass-nodes", "key", "--", "sh", "-c", show)
	p.exit(0)
	p.prints(`nodes: redis://`)
}

func TestRun_PassesSignalsOn(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	p := launch(t, s.URLs(), with(testCommand(t, "parent", "heedful"), "key")...)
	p.stdout.line(t, "parent ready")
	p.stdout.line(t, "heedful ready")
	for _, sig := range []syscall.Signal{
		syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM,
	} {
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		for _, who := range []string{"parent", "heedful"} { // its whole process group
			p.stdout.line(t, fmt.Sprintf("%s got %d ", who, sig))
		}
	}
	p.exit(9)
}

// nohup redlock run … outlives its terminal, and so does the command.
func TestRun_ASignalIgnoredFromTheStartStaysIgnored(t *testing.T) {
	s := nodes(t, 3)
	signal.Ignore(syscall.SIGHUP) // a child inherits this
	p := launch(t, s.URLs(), with(testCommand(t, "heedful"), "key")...)
	signal.Reset(syscall.SIGHUP)
	passIgnoredSignals()
	p.stdout.line(t, "heedful ready")
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	p.exit(9)
	if strings.Contains(p.stdout.String(), "heedful got 1 ") {
		t.Errorf("SIGHUP was passed on:\n%s", p.stdout)
	}
}

func TestRun_ASignalEndsTheWait(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	l, err := newLocker(t, s.URLs()).TryLock(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		p := launch(t, s.URLs(), "run", "-v", "key", "--", "echo", "never")
		p.stderr.line(t, "waiting for")
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		p.exit(128 + int(sig))
		if p.stdout.String() != "" {
			t.Error("the command ran")
		}
	}
	if err := l.Err(); err != nil {
		t.Error(err)
	}
}

func TestRun_ALossEndsTheWholeProcessGroup(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		p := launch(t, s.URLs(), with(testCommand(t, "parent", "heedful"), "--ttl", "1s", "key")...)
		p.stdout.line(t, "parent ready")
		p.stdout.line(t, "heedful ready")
		for i := range s.Len() {
			s.Stop(i)
		}
		p.exit(76)
		for _, want := range []string{"parent got 15 ", "heedful got 15 ", "parent: its child has ended"} {
			if !strings.Contains(p.stdout.String(), want) {
				harness.Missed(t, p.began, "no %q in:\n%s", want, p.stdout)
			}
		}
		if !strings.Contains(p.stderr.String(), `"key" lost`) {
			t.Errorf("the loss is not reported:\n%s", p.stderr)
		}
	})
}

func TestRun_KillsWhatDoesNotEndAfterALoss(t *testing.T) {
	t.Parallel()
	for _, who := range [][]string{{"stubborn"}, {"parent", "stubborn"}, {"leaver", "stubborn"}} {
		t.Run(strings.Join(who, " "), func(t *testing.T) {
			t.Parallel()
			s := nodes(t, 3)
			p := launch(t, s.URLs(), with(testCommand(t, who...), "--ttl", "1s", "--grace", "200ms", "key")...)
			p.stdout.line(t, "stubborn ready")
			for i := range s.Len() {
				s.Stop(i)
			}
			p.exit(76) // no process holds its output open
			if !strings.Contains(p.stdout.String(), "stubborn got 15 ") {
				harness.Missed(t, p.began, "no SIGTERM came first, or its receiver had no time to say so:\n%s", p.stdout)
			}
		})
	}
}

// When the network between redlock and the nodes breaks, the key expires there,
// and a waiter acquires it. By then redlock has signalled the command. The
// margin is 1 % of the TTL. On a busy machine redlock may not run for longer
// than that, so a failure is retried.
func TestRun_SignalsTheCommandBeforeAnotherHoldsTheKey(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		const tries = 4
		for try := 1; ; try++ {
			late := signalledLate(t, s, fmt.Sprintf("key%d", try))
			if late < 0 {
				return
			}
			t.Logf("the command was signalled %v after another process acquired the key", late)
			if try == tries {
				t.Fatalf("%d times in a row", tries)
			}
		}
	})
}

// signalledLate breaks the network, and returns how long after another process
// acquired the key the command was signalled.
func signalledLate(t *testing.T, s harness.Set, key string) time.Duration {
	t.Helper()
	var near []string
	var wires []*wire
	for _, u := range s.URLs() {
		w := newWire(t, u)
		wires, near = append(wires, w), append(near, w.url())
	}
	p := launch(t, near, with(testCommand(t, "heedful"), "--ttl", "3s", "-q", key)...)
	p.stdout.line(t, "heedful ready")
	for _, w := range wires {
		w.cut()
	}
	l, err := newLocker(t, s.URLs()).Lock(t.Context(), key)
	granted := time.Now()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	p.exit(76)
	line := p.stdout.line(t, "heedful got 15 ")
	nanos, err := strconv.ParseInt(line[strings.LastIndexByte(line, ' ')+1:], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, nanos).Sub(granted)
}

func TestRun_NoticesAKeyThatWasDeleted(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	p := launch(t, s.URLs(), "run", "key", "--", "sh", "-c", "echo ready; cat; exit 0")
	p.stdout.line(t, "ready")
	for i := range s.Len() {
		if err := harness.Client(t, s, i).Del(t.Context(), "lock:key").Err(); err != nil {
			t.Fatal(err)
		}
	}
	p.exit(76) // at the latest when it is released
}

func TestRun_AStoppedCommandKeepsItsLock(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	p := launch(t, s.URLs(), with(testCommand(t, "heedful"), "--ttl", "1s", "key")...)
	var pid int
	if _, err := fmt.Sscanf(p.stdout.line(t, "heedful ready"), "heedful ready %d", &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := newLocker(t, s.URLs()).Lock(t.Context(), "key", lock.Wait(1500*time.Millisecond))
	if err == nil {
		harness.Missed(t, began, "another got the key")
	}
	for _, sig := range []syscall.Signal{syscall.SIGCONT, syscall.SIGTERM} {
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	p.exit(9)
}
