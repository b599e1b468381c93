//go:build unix && !linux

package chaos

import "syscall"

// dieWithParent returns nil: clients end when their standard input ends.
func dieWithParent() *syscall.SysProcAttr { return nil }
