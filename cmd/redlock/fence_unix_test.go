//go:build unix

package main

import (
	"os"
	"path/filepath"
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
	p.prints(`not within --wait 1ms`)
}
