//go:build !linux

package redisserver

import (
	"errors"
	"os/exec"
	"syscall"
)

// dieWithParent returns nil: only Linux can end a process with its parent.
func dieWithParent() *syscall.SysProcAttr { return nil }

// onDisk makes the command fail: only on Linux can a process have its own
// mounts.
func onDisk(cmd *exec.Cmd, _, _ string) {
	cmd.Err = errors.New("Options.Disk needs Linux")
}

// awaitFrozen does not wait: SIGSTOP takes effect soon.
func (p *process) awaitFrozen() {}
