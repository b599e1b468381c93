//go:build unix && !linux

package chaos

import "syscall"

// dieWithParent asks for nothing: clients end when their standard input does.
func dieWithParent() *syscall.SysProcAttr { return nil }
