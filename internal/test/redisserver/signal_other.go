//go:build !unix

package redisserver

func (p *process) freeze() {
	panic("redisserver: Pause is not supported on this system: it has no SIGSTOP; pause nodes of package embedded")
}

func (p *process) thaw() {} // nothing is ever frozen
