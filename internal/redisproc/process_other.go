//go:build !linux

package redisproc

import "syscall"

// dieWithParent asks for nothing: only Linux ties a process to its parent.
func dieWithParent() *syscall.SysProcAttr { return nil }

// awaitFrozen does not wait: SIGSTOP takes effect soon.
func (p *process) awaitFrozen() {}
