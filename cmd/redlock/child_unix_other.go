//go:build unix && !linux

package main

import "syscall"

// dieWithParent does nothing: this system does not support it.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr { return a }
