package chaos

import "syscall"

// dieWithParent makes the kernel kill the process when the thread that started it ends, even while the process is
// stopped.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
