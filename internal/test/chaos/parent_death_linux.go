package chaos

import "syscall"

// dieWithParent has the kernel kill the process when the thread that started it ends, also while it is stopped.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
