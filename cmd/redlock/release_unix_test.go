//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

func TestRelease_NotifiesTheHolder(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	held := launch(t, s.URLs(), with(testCommand(t, "heedful"), "-v", "--ttl", "3s", "order:42")...)
	held.stdout.line(t, "ready")
	p := operate(t, s.URLs(), 1, "release", "--force", "order:42") // no answer
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
		t.Errorf("the holder printed\n%s", held.stderr)
	}
	l, err := newLocker(t, s.URLs()).Lock(t.Context(), "order:42", lock.Wait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
