package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

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
	return launchAs(t, []string{exe}, urls, args...)
}

// launchAs is like launch, with other words that start redlock.
func launchAs(t *testing.T, words, urls []string, args ...string) *program {
	t.Helper()
	p := &program{
		t: t, began: time.Now(), cmd: exec.Command(words[0], append(slices.Clone(words[1:]), args...)...),
		stdout: newOutput(), stderr: newOutput(),
	}
	p.stdout.of, p.stderr.of = p, p
	var err error
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "REDLOCK_NODES=") || strings.HasPrefix(s, "NO_COLOR=")
	})
	env = append(env, "GORACE=atexit_sleep_ms=0") // otherwise each program would take a second to end under the race detector
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

// exit waits for the end and checks the exit code. All processes that the
// program started must end as well, because they hold its output open.
func (p *program) exit(want int) {
	p.t.Helper()
	began := time.Now()
	got := p.ended()
	if got != want && time.Since(began) >= patience {
		harness.Missed(p.t, began, "%q has not ended\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], p.stdout, p.stderr)
	}
	if (got == exitNoQuorum || got == exitLost) && got != want { // a slow machine can cause a missing quorum, but not the opposite
		harness.Missed(p.t, p.began, "%q: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], got, want, p.stdout, p.stderr)
	}
	if got != want {
		p.wrong("%q: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], got, want, p.stdout, p.stderr)
	}
	p.read()
}

// read waits until all processes that hold the output open have ended.
func (p *program) read() {
	p.t.Helper()
	began := time.Now()
	for _, o := range []*output{p.stdout, p.stderr} {
		select {
		case <-o.eof:
		case <-time.After(patience):
			harness.Missed(p.t, began, "%q: something that it started has not ended", p.cmd.Args[1:])
		}
	}
}

// ended waits for the end and returns the exit code.
func (p *program) ended() int {
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

// wrong reports unexpected output or an unexpected end of the program. If a
// node did not answer it in time, that is missed progress.
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

// prints checks that the program's output, on either stream, matches patterns.
// The output depends on which nodes answered in time.
func (p *program) prints(patterns ...string) {
	p.t.Helper()
	all := p.stdout.String() + p.stderr.String()
	for _, pattern := range patterns {
		if !regexp.MustCompile(pattern).MatchString(all) {
			harness.Missed(p.t, p.began, "%q prints nothing like %q but\n%s", p.cmd.Args[1:], pattern, all)
		}
	}
}

// hides checks that the program printed none of these texts.
func (p *program) hides(texts ...string) {
	p.t.Helper()
	all := p.stdout.String() + p.stderr.String()
	for _, text := range texts {
		if strings.Contains(all, text) {
			p.t.Errorf("%q prints %q:\n%s", p.cmd.Args[1:], text, all)
		}
	}
}

// operate runs a command to its end. It repeats the command if too few nodes
// answered in time on a busy machine.
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

// timed runs a command and returns how long it took.
func timed(t *testing.T, urls []string, code int, args ...string) (took time.Duration, p *program) {
	t.Helper()
	began := time.Now()
	p = operate(t, urls, code, args...)
	return time.Since(began), p
}

// decode decodes a program's JSON.
func decode[T any](t *testing.T, p *program) (doc T) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.stdout.String()), &doc); err != nil {
		t.Fatalf("%v in:\n%s\nstderr:\n%s", err, p.stdout, p.stderr)
	}
	return doc
}

// output collects what a program prints, and lets tests wait for a line.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	grown chan struct{} // closed when there is more
	eof   chan struct{} // closed when no process can write any more
	of    *program      // nil: of no program
}

func newOutput() *output { return &output{grown: make(chan struct{}), eof: make(chan struct{})} }

// pipe returns the end to write to. The test must close its copy once the
// program has it.
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
	for ended := false; ; {
		o.mu.Lock()
		all, grown := o.buf.String(), o.grown
		o.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return strings.TrimSuffix(line, "\n")
			}
		}
		if ended {
			if p := o.of; p != nil { // the reason is on the other output
				p.read()
				p.wrong("it ended without a line with %q; there is:\n%s%s", text, p.stdout, p.stderr)
				t.FailNow()
			}
			t.Fatalf("it ended without a line with %q; there is:\n%s", text, all)
		}
		select {
		case <-grown:
		case <-o.eof:
			ended = true
		case <-timeout:
			harness.Missed(t, began, "no line with %q; there is:\n%s", text, all)
		}
	}
}
