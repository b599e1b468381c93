package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// as says what this binary is when a test starts it: the program itself, or a command that it runs.
const as = "REDLOCK_TEST_AS"

func TestMain(m *testing.M) {
	switch os.Getenv(as) {
	case "redlock":
		os.Exit(execute(os.Args[1:]))
	case "command":
		os.Exit(command(os.Args[1:]))
	}
	redis.SetLogger(silent{})
	passIgnoredSignals()
	os.Exit(harness.Run(m, removePlain))
}

// plainProgram is the program without the race detector, for the first part of the
// tests: under it a program takes four times as long to start. The second part
// starts the test binary, and so looks for races in the program.
var plainProgram = sync.OnceValues(func() (exe string, err error) {
	if plainDir, err = os.MkdirTemp("", "redlock-plain-"); err != nil {
		return "", err
	}
	exe = filepath.Join(plainDir, "redlock.exe")
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", exe, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return exe, err
})

var plainDir string

func removePlain() {
	if plainDir != "" {
		_ = os.RemoveAll(plainDir)
	}
}

// theProgram is what launch starts.
func theProgram() (string, error) {
	if os.Getenv("REDLOCK_TEST_PART") == "first" {
		return plainProgram()
	}
	return os.Executable()
}

// passIgnoredSignals lets the programs that tests start have the usual signals, also where nohup or a shell's & has made
// this process ignore some: what is ignored stays so in a child, what is caught does not.
func passIgnoredSignals() {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}

// patience bounds every wait of a test.
const patience = harness.Patience

// program is a running redlock.
type program struct {
	t      *testing.T
	began  time.Time
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *output
	stderr *output
}

// launch starts redlock with these arguments on these nodes.
func launch(t *testing.T, urls []string, args ...string) *program {
	t.Helper()
	exe, err := theProgram()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, began: time.Now(), cmd: exec.Command(exe, args...), stdout: newOutput(), stderr: newOutput()}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "REDLOCK_NODES=") || strings.HasPrefix(s, "NO_COLOR=")
	})
	env = append(env, "GORACE=atexit_sleep_ms=0") // or each program would take a second to end under the race detector
	p.cmd.Env = append(env, as+"=redlock", "REDLOCK_NODES="+strings.Join(urls, " "))
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout.pipe(t), p.stderr.pipe(t)
	err = p.cmd.Start()
	p.cmd.Stdout.(*os.File).Close()
	p.cmd.Stderr.(*os.File).Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// exit waits for the end and checks the exit code. Everything that holds the output open has to end too, which is all
// that was started.
func (p *program) exit(want int) {
	p.t.Helper()
	began := time.Now()
	got := p.ended()
	if got != want && time.Since(began) >= patience {
		harness.Missed(p.t, began, "%q has not ended\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], p.stdout, p.stderr)
	}
	if (got == exitNoQuorum || got == exitLost) && got != want { // a slow machine can take the quorum away, and not give one
		harness.Missed(p.t, p.began, "%q: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], got, want, p.stdout, p.stderr)
	}
	if got != want {
		p.wrong("%q: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], got, want, p.stdout, p.stderr)
	}
	for _, o := range []*output{p.stdout, p.stderr} {
		select {
		case <-o.eof:
		case <-time.After(patience):
			harness.Missed(p.t, began, "%q: something that it started has not ended", p.cmd.Args[1:])
		}
	}
}

// wrong reports that the program printed something else than it should, or ended otherwise, which is progress missed if a node
// did not answer it in time.
func (p *program) wrong(format string, args ...any) {
	p.t.Helper()
	all := p.stdout.String() + p.stderr.String()
	for _, late := range []string{"i/o timeout", "does not answer", "context deadline exceeded"} {
		if strings.Contains(all, late) {
			harness.Missed(p.t, p.began, format, args...)
		}
	}
	p.t.Errorf(format, args...)
}

// output collects what a program prints, and lets tests wait for a line.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	grown chan struct{} // closed when there is more
	eof   chan struct{} // closed when nobody can write any more
}

func newOutput() *output { return &output{grown: make(chan struct{}), eof: make(chan struct{})} }

// pipe is the end to write to. It is closed for the test when the program has it.
func (o *output) pipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(o.eof)
		defer r.Close()
		_, _ = io.Copy(o, r)
	}()
	return w
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.grown)
	o.grown = make(chan struct{})
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// line waits for a complete line that contains text, and returns it.
func (o *output) line(t *testing.T, text string) string {
	t.Helper()
	began, timeout := time.Now(), time.After(patience)
	for {
		o.mu.Lock()
		all, grown := o.buf.String(), o.grown
		o.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return strings.TrimSuffix(line, "\n")
			}
		}
		select {
		case <-grown:
		case <-timeout:
			harness.Missed(t, began, "no line with %q; there is:\n%s", text, all)
		}
	}
}

// newLocker is a process beside redlock that wants the same locks.
func newLocker(t *testing.T, urls []string) *lock.Locker {
	t.Helper()
	locker, err := lock.New(open(t, urls), lock.Config{Owner: "the test"})
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, locker)
	return locker
}

// open connects to the nodes, and is patient with them.
func open(t *testing.T, urls []string) *cluster.Cluster {
	t.Helper()
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: urls, NodeTimeout: 2 * time.Second, Logger: newLogger(true, false)})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	return c
}

// freePort is the first of n ports in a row that were free just now.
func freePort(t *testing.T, n int) int {
	t.Helper()
	for port := 31000; port < 32000; port += n {
		if free(port, n) {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func free(port, n int) bool {
	for i := range n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+i))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func TestTheCommandLineIsExplained(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string // on either output
	}{
		{[]string{"--help"}, 0, "Run a command while holding a lock."},
		{[]string{"run", "--help"}, 0, "76 the lock was lost"},
		{[]string{"demo", "--help"}, 0, "1 one was broken"},
		{[]string{"dev", "--help"}, 0, "in memory"},
		{[]string{"--version"}, 0, "redlock "},
		{nil, 2, `expected one of "demo", "dev", "run"`},
		{[]string{"rum"}, 2, `did you mean "run"`},
		{[]string{"run", "--nope", "key", "true"}, 2, "unknown flag --nope"},
		{[]string{"run"}, 2, "see redlock run --help"},
		{[]string{"run", "key"}, 2, "<CMD>"},
		{[]string{"run", "key", "--"}, 2, "no command, as in: redlock run KEY"},
		{[]string{"run", "", "--", "true"}, 2, "KEY is empty"},
		{[]string{"run", "--ttl", "61s", "key", "true"}, 2, "--ttl 1m1s: longer than 1m0s"},
		{[]string{"run", "--ttl", "750ms", "key", "true"}, 2, "--ttl 750ms: too short"},
		{[]string{"run", "--wait=-1s", "key", "true"}, 2, "--wait -1s: negative"},
		{[]string{"run", "--wait=1s", "--no-wait", "key", "true"}, 2, "can't be used together"},
		{[]string{"run", "--grace=-1s", "key", "true"}, 2, "--grace -1s: negative"},
		{[]string{"run", "-E", "256", "key", "true"}, 2, "from 0 to 255"},
		{[]string{"demo", "--duration", "1s"}, 2, "from 5s to 1m"},
		{[]string{"dev", "-n", "0"}, 2, "from 1 to 101"},
		{[]string{"dev", "--port", "65535"}, 2, "between 1 and 65535"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			p := launch(t, nil, tt.args...)
			p.exit(tt.code)
			all := p.stdout.String() + p.stderr.String()
			if oneLine := strings.Join(strings.Fields(all), " ") + " "; !strings.Contains(oneLine, tt.want) {
				t.Errorf("no %q in:\n%s", tt.want, all)
			}
		})
	}
}

func TestSplitURLs(t *testing.T) {
	got := splitURLs(" redis://a:1,redis://b:2, redis://c:3\n\tredis://d:4 ,")
	want := []string{"redis://a:1", "redis://b:2", "redis://c:3", "redis://d:4"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// nodes are embedded nodes that a process has opened before, patiently: they vote, however slow the machine is.
func nodes(t *testing.T, n int) harness.Set {
	t.Helper()
	s := harness.Embedded(t, n)
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs(), NodeTimeout: 2 * time.Second, Logger: newLogger(true, false)})
	harness.Must(t, began, err)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
