//go:build unix && !linux

package main

import "syscall"

// dieWithParent does nothing: the system has no such wish.
func dieWithParent(a *syscall.SysProcAttr) *syscall.SysProcAttr { return a }
