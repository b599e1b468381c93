//go:build unix

package redisserver

import "syscall"

// freeze stops the process until thaw.
func (p *process) freeze() {
	if p.os.Signal(syscall.SIGSTOP) == nil { // it fails if the process has ended
		p.awaitFrozen()
	}
}

func (p *process) thaw() { _ = p.os.Signal(syscall.SIGCONT) } // fails if the process has ended
