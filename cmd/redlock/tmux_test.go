//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

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
