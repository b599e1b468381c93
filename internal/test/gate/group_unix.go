//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// interruptGroup runs cmd in a process group of its own and interrupts all of
// it when its context ends. go test itself does not interrupt its tests, but
// waits for them.
func interruptGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
}
