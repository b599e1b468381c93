//go:build !linux

package redisserver

import (
	"errors"
	"os/exec"
	"syscall"
)

// dieWithParent asks for nothing: only Linux ties a process to its parent.
func dieWithParent() *syscall.SysProcAttr { return nil }

// onDisk has the command fail: only Linux lets a process have mounts of its own.
func onDisk(cmd *exec.Cmd, _, _ string) {
	cmd.Err = errors.New("Options.Disk needs Linux")
}

// awaitFrozen does not wait: SIGSTOP takes effect soon.
func (p *process) awaitFrozen() {}
