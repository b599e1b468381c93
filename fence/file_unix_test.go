//go:build unix

package fence_test

import (
	"os"
	"syscall"
	"testing"
)

// lockFile locks a file as another process does.
func lockFile(t *testing.T, path string) (unlock func()) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	pass(t, err)
	pass(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	return func() { pass(t, file.Close()) }
}
