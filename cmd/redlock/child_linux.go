package main

import "syscall"

// dieWithParent makes the kernel kill the command when redlock dies, even by
// SIGKILL.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	a.Pdeathsig = syscall.SIGKILL
	return a
}
