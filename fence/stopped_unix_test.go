//go:build unix

package fence_test

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

// lateHolder is a process that was stopped while it held the lock.
type lateHolder struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func stopHolder(t *testing.T, urls []string) *lateHolder {
	t.Helper()
	h := &lateHolder{t: t, cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(os.Environ(), lateOn+"="+strings.Join(urls, " "), "GORACE=atexit_sleep_ms=0")
	out, err := h.cmd.StdoutPipe()
	pass(t, err)
	h.stdin, err = h.cmd.StdinPipe()
	pass(t, err)
	h.lines = bufio.NewScanner(out)
	pass(t, h.cmd.Start())
	t.Cleanup(func() {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait() // it was killed, or has ended
	})
	if got := h.line(); got != "holds" {
		t.Fatalf("the holder printed %q", got)
	}
	pass(t, h.cmd.Process.Signal(syscall.SIGSTOP))
	return h
}

func (h *lateHolder) line() string {
	h.t.Helper()
	if !h.lines.Scan() {
		h.t.Fatalf("the holder ended: %v", h.lines.Err())
	}
	return h.lines.Text()
}

// continues lets it go on and write.
func (h *lateHolder) continues(how string) string {
	h.t.Helper()
	pass(h.t, h.cmd.Process.Signal(syscall.SIGCONT))
	_, err := io.WriteString(h.stdin, how+"\n")
	pass(h.t, err)
	return h.line()
}

// A holder that is stopped past its TTL writes late. Without a fence that
// destroys what the next holder wrote.
func TestRedis_AHolderThatWasStoppedIsRefused(t *testing.T) {
	for how, want := range map[string]struct{ says, holds string }{
		"fenced":   {"stale: true", "next"},
		"unfenced": {"stale: false", "late"},
	} {
		t.Run(how, func(t *testing.T) {
			harness.Beside(t, 1, func(t *testing.T, data harness.Set) {
				began := time.Now()
				urls := append(harness.Embedded(t, 1).URLs(), data.URLs()...)
				h := stopHolder(t, urls)
				c, err := cluster.Open(t.Context(), cluster.Config{URLs: urls[:1], NodeTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
				harness.Must(t, began, err)
				harness.CloseAtEnd(t, c)
				leases, err := lease.New(c, lease.Config{TTL: 30 * time.Second})
				pass(t, err)
				harness.CloseAtEnd(t, leases)
				l, err := leases.Acquire(t.Context(), lockKey) // when the other's has expired
				harness.Must(t, began, err)
				client := harness.Client(t, data, 0)
				pass(t, fence.Redis{Client: client}.Set(l.Context(), lockKey, state, "next", 0))
				if got := h.continues(how); !strings.HasPrefix(got, want.says) {
					t.Errorf("the late holder: %s, want %s", got, want.says)
				}
				if got := client.Get(t.Context(), state).Val(); got != want.holds {
					t.Errorf("the data is %q, want %q", got, want.holds)
				}
			})
		})
	}
}
