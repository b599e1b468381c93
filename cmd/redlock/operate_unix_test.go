//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

func TestReleaseByForceTellsTheHolder(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	held := launch(t, s.URLs(), with(testCommand(t, "heedful"), "-v", "--ttl", "3s", "order:42")...)
	held.stdout.line(t, "ready")
	p := operate(t, s.URLs(), 1, "release", "--force", "order:42") // nobody answers
	if !strings.Contains(p.stderr.String(), "not confirmed; nothing was changed") || !strings.Contains(p.stdout.String(), "is held.") {
		t.Errorf("%s%s", p.stdout, p.stderr)
	}
	p = launch(t, s.URLs(), "release", "--force", "--as", "ann", "order:42")
	if _, err := p.stdin.Write([]byte("yes\n")); err != nil {
		t.Fatal(err)
	}
	p.exit(0)
	if !strings.Contains(p.stdout.String(), "Taken away from ") {
		t.Errorf("%s%s", p.stdout, p.stderr)
	}
	held.stderr.line(t, `"order:42" lost`)
	held.exit(exitLost)
	if !strings.Contains(held.stderr.String(), ": released by force by ann (") {
		t.Errorf("the holder is told\n%s", held.stderr)
	}
	l, err := newLocker(t, s.URLs()).Lock(t.Context(), "order:42", lock.Wait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// tmux runs a command in a terminal of its own.
type tmux struct {
	t      *testing.T
	socket string
}

func newTmux(t *testing.T, width int, command string) *tmux {
	t.Helper()
	needTerminals(t, "tmux")
	m := &tmux{t, filepath.Join(t.TempDir(), "s")}
	m.run("-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", "24", command)
	t.Cleanup(func() { m.run("kill-server") })
	return m
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", m.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=screen-256color", "LC_ALL=C.UTF-8", as+"=redlock", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// shows waits until the screen shows all of these texts, and returns it.
func (m *tmux) shows(texts ...string) string {
	m.t.Helper()
	began, over := time.Now(), time.After(patience)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		screen := m.run("capture-pane", "-p")
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(screen, text) }) {
			return screen
		}
		select {
		case <-look.C:
		case <-over:
			harness.Missed(m.t, began, "the screen does not show %q but\n%s", texts, screen)
		}
	}
}

func TestTop_PaintsOnATerminalWhatHappens(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	locker := newLocker(t, s.URLs())
	l, err := locker.Lock(t.Context(), "order:42", lock.Owner("nightly"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(context.Background())
	m := newTmux(t, 130, fmt.Sprintf("stty -echo; %s top --every 100ms --nodes %s; echo ended with $?; exec cat", os.Args[0], strings.Join(s.URLs(), ",")))
	screen := m.shows("redlock top", "3 of 3 nodes up", "1 lock ", "order:42", "nightly (", "+++", "q quits")
	if head := strings.Split(screen, "\n"); !strings.HasPrefix(head[0], "redlock top") || !strings.HasPrefix(head[2], "NODE") {
		t.Errorf("the screen is\n%s", screen)
	}
	t.Logf("the screen:\n%s", screen)
	other, err := locker.Lock(t.Context(), "order:43")
	if err != nil {
		t.Fatal(err)
	}
	m.shows("2 locks", "order:43")
	if err := other.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Stop(1)
	screen = m.shows("2 of 3 nodes up", "1 lock ", "+?+", "connection refused")
	if strings.Contains(screen, "order:43") {
		t.Errorf("what is released stays on the screen:\n%s", screen)
	}
	m.run("send-keys", "C-c")
	screen = m.shows("ended with 0")
	if strings.Contains(screen, "order:42") {
		t.Errorf("the terminal is not given back:\n%s", screen)
	}
	if visible := strings.TrimSpace(m.run("display-message", "-p", "#{cursor_flag}")); visible != "1" {
		t.Error("the cursor stays hidden")
	}
}

func TestZshCompletes(t *testing.T) {
	t.Parallel()
	script := launch(t, nil, "completion", "zsh")
	script.exit(0)
	needTerminals(t, "zsh", "tmux")
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script.stdout.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newTmux(t, 110, "zsh -f")
	m.run("send-keys", "autoload -Uz compinit; compinit -u -D; source "+file+"; PS1='> '; clear; echo re''ady", "Enter")
	m.shows("ready")
	for typed, want := range map[string]string{
		"redlock comp": "> redlock completion", "redlock ls --out": "> redlock ls --output", "redlock completion f": "> redlock completion fish",
		"redlock ls -o j": "> redlock ls -o json",
	} {
		m.run("send-keys", "C-u")
		m.run("send-keys", typed, "Tab")
		m.shows(want)
	}
}

func TestTopFitsANarrowTerminal(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	locker := newLocker(t, s.URLs())
	if _, err := locker.Lock(t.Context(), "order:42", lock.Owner("nightly")); err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{60, 80} {
		m := newTmux(t, width, fmt.Sprintf("stty -echo; %s top --every 100ms --nodes %s; exec cat", os.Args[0], strings.Join(s.URLs(), ",")))
		screen := m.shows("redlock top", "3 of 3 nodes up", "order:42", "q quits; no room for ", "APPEND-ONLY")
		for _, column := range []string{"NODE ", "STATE", "VOTES", "KEY ", "HOLDER", "WAITING"} {
			if !strings.Contains(screen, column) {
				t.Errorf("at %d columns there is no %s:\n%s", width, column, screen)
			}
		}
	}
}
