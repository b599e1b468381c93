//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// A signal to the gate alone, as a supervisor sends it, ends the grandchildren.
func TestGate_AnInterruptReachesTheWholeGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := &gate{root: dir}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		// The shell that is started ignores interrupts and waits, as go test does.
		script := `trap "" INT; (trap - INT; exec sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 600') & wait`
		_, err := g.plain(ctx, command{args: []string{"bash", "-c", script}}, new(bytes.Buffer))
		ended <- err
	}()
	pid := 0
	harness.Eventually(t, "the grandchild to start", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "pid"))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	cancel()
	if err := harness.Receive(t, "the command to end", ended); err == nil {
		t.Error("no error")
	}
	harness.Eventually(t, "the grandchild to end", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}
