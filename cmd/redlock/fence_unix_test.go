//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFenceCheck_WaitsForOtherChecksNoLongerThanItWasTold(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fence")
	lock, err := os.OpenFile(file+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p := launch(t, nil, "fence", "check", file, "k", "7", "--wait", "1ms")
	p.exit(exitConflict)
	p.prints(`^redlock: fence: "k": other checks held the lock on .*fence\.lock for longer than --wait, 1ms: `)
	if text := p.stderr.String(); strings.Count(text, "redlock: ") != 1 {
		t.Errorf("the prefix appears more than once: %s", text)
	}
}
