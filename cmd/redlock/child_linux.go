package main

import "syscall"

// dieWithParent has the kernel kill the command when redlock dies, also by
// SIGKILL.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	a.Pdeathsig = syscall.SIGKILL
	return a
}
