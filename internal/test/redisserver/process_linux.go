package redisserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// dieWithParent makes the kernel kill the process when the thread that started it ends.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// onDisk makes the command run with a tmpfs of this size mounted at dir, in a mount namespace of its own. The tmpfs
// disappears with the namespace.
func onDisk(cmd *exec.Cmd, dir, size string) {
	const script = `mount -t tmpfs -o size="$1" redisserver "$0" && shift && exec "$@"`
	cmd.Args = append([]string{"sh", "-c", script, dir, size, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
}

// awaitFrozen waits until all threads of the process are stopped, because SIGSTOP takes effect a moment after it was
// sent. It returns when the process ends.
func (p *process) awaitFrozen() {
	poll := time.NewTicker(100 * time.Microsecond)
	defer poll.Stop()
	for !p.frozen() {
		select {
		case <-p.exited:
			return
		case <-poll.C:
		}
	}
}

func (p *process) frozen() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return true // it ended, or its state is unknown
	}
	// The state follows the program's name, which may contain anything.
	i := bytes.LastIndexByte(stat, ')')
	return i < 0 || i+2 >= len(stat) || stat[i+2] == 'T'
}
